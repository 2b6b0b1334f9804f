"""The program spares Python's collector of garbage."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, gc, sys

def tell():
    print("frozen", gc.get_freeze_count() > 10_000, "young", gc.get_threshold()[0], "on", gc.isenabled())

atexit.register(tell)  # what is registered first runs last
import tractome_cli.app
sys.argv = ["tractome", "--version"]
tractome_cli.app.main()
"""


def test_nothing_is_searched_at_the_end_and_garbage_is_found_meanwhile():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "frozen True young 50000 on True" in done.stdout, done.stdout + done.stderr
