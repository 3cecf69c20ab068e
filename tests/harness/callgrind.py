# SPDX-License-Identifier: MIT
"""Instructions that a program executes, counted by valgrind: they say what code costs, whatever the machine does meanwhile."""

import pathlib
import re
import shutil
import tempfile

import pytest

from .ginnel import Ginnel

TOTALS = re.compile(r"^totals: (\d+)", re.M)


class Callgrind(Ginnel):
    """A ginnel under callgrind. After finish() `instructions` has those of each thread, in the order of their beginning."""

    def __init__(self, config):
        if not shutil.which("valgrind"):
            pytest.skip("no valgrind here")
        if self.instrumented():
            pytest.skip("sanitizers execute instructions of their own")
        self._out = tempfile.TemporaryDirectory(prefix="ginnel-callgrind-")
        out = pathlib.Path(self._out.name, "out")
        self.instructions = []
        super().__init__(config, wrap=("valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"))

    def finish(self):
        self.stop()
        files = sorted(pathlib.Path(self._out.name).glob("out-*"))
        self.instructions = [int(TOTALS.search(file.read_text())[1]) for file in files]
        return self.instructions

    def close(self):
        try:
            super().close()
        finally:
            self._out.cleanup()
