# SPDX-License-Identifier: MIT
"""What locks.c has counted: the locks that several threads of a program take."""
import os
import pathlib
import struct
import subprocess

THREADS = 16
ROW = struct.Struct(f"<Q{THREADS}I")
SOURCE = pathlib.Path(__file__).resolve().with_name("locks.c")


def build(folder):
    """The library that is to be preloaded."""
    library = pathlib.Path(folder, "locks.so")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return library


def read(path):
    """{lock: how often each thread took it}"""
    return {lock: counts for lock, *counts in ROW.iter_unpack(pathlib.Path(path).read_bytes()) if lock}


def shared(before, after):
    """{lock: how often it was taken meanwhile}, of those that more than one thread took."""
    found = {}
    for lock, counts in after.items():
        taken = [b - a for a, b in zip(before.get(lock, [0] * THREADS), counts)]
        if sum(n > 0 for n in taken) > 1:
            found[lock] = sum(taken)
    return found
