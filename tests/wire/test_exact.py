# SPDX-License-Identifier: MIT
"""The whole cross product of how connections end, by bench/exact.c: each leg that there is, who ends it and how, and what is going on
then; thousands of repetitions, each with contents of its own that are compared byte by byte (DESIGN 8.2 8.3).

A failure is repeated with what its line says: build/exact -p PORT -k LEG/EVENT/SITUATION -S SEED -n 50
"""
import os
import pathlib
import re
import socket
import subprocess

import pytest

from harness import Ginnel, Origin, free_port, scaled

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "bench" / "exact.c"
LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
CELLS = 251
PATIENCE = 4  # times what is promised: the machine may have other things to do


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Runs the driver over a port: driver(port, options) is (cells that are wrong, what it says in the end, all of its output)."""
    binary = tmp_path_factory.mktemp("exact") / "exact"
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-o", str(binary), str(SOURCE)], check=True)

    def run(port, *options):
        ran = subprocess.run([str(binary), "-p", str(port), "-w", str(scaled(PATIENCE)), *options], stdout=subprocess.PIPE, text=True,
                             check=False, timeout=1000 if LONG else 110)
        assert ran.returncode in (0, 1), ran.stdout
        cells = re.findall(r"^cell (\S+) (\S+) (\S+) (\d+) (\d+) (.*)$", ran.stdout, re.M)
        wrong = ["/".join(cell[:3]) + f": {cell[4]} of {cell[3]} ({cell[5]})" for cell in cells if cell[4] != "0"]
        summary = dict(pair.split("=") for pair in ran.stdout.splitlines()[-1].split())
        return wrong, summary, ran.stdout
    return run


def reps(n):
    return str(n * 20 if LONG else max(n // 4, 1) if Ginnel.instrumented() else n)


def check(driver, proxy, n, *options):
    wrong, summary, output = driver(proxy.port, "-n", reps(n), *options)
    assert not wrong, "\n".join(wrong) + "\n\n" + output[:4000]
    return summary


def test_the_cross_product(start, driver):
    """C18 C19 C48 C53a U8 U11 U12; S002-3 S002-14 S002-29: everything after a FIN, a prefix and an RST after an RST, nothing broken looks whole"""
    proxy = start({"workers": 1, "log": {"access": "off"}})
    summary = check(driver, proxy, 16)
    assert int(summary["cells"]) == CELLS
    assert proxy.alive()


def test_the_cross_product_on_two_workers(start, driver):
    """C18 C19 C48 C53a: the same, many more at a time"""
    proxy = start({"workers": 2, "log": {"access": "off"}})
    assert int(check(driver, proxy, 6, "-s", "2", "-c", "160")["cells"]) == CELLS


def test_the_driver_notices_a_proxy_that_is_none(driver):
    """What answers a CONNECT with 200 and tells nobody, and a GET with a head and an end, is wrong in every cell"""
    def answer(conn):
        conn.recv_until(b"\r\n\r\n")
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n")

    _, summary, output = driver(Origin(answer).port, "-n", "1", "-w", "0.2", "-k", "connect/*", "-k", "get-length/*-origin/*")
    assert int(summary["wrong"]) == int(summary["runs"]) == int(summary["cells"]) > 40, output


def test_the_driver_notices_a_wrong_byte(driver):
    """A relay that changes one bit of what it reads"""
    port = free_port()

    def garble(conn):
        with socket.create_connection(("127.0.0.1", port)) as up:
            while data := conn.recv_some():
                up.sendall(bytes([data[0] ^ 1]) + data[1:])
            up.recv(1)  # until the driver has seen it

    relay = str(Origin(garble).port)
    wrong, _, _ = driver(1, "-o", str(port), "-r", relay, "-h", relay, "-c", "1", "-n", "1", "-k", "connect/fin-client/slow")
    assert len(wrong) == 1 and "the origin got a wrong byte at " in wrong[0]
