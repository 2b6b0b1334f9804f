"""Run one command and write down what it cost: a process of its own, because it has to be small.

    python launch.py REPORT COMMAND...

A new process begins with the largest resident set of the one that started it, so a benchmark that holds large arrays
would count as every program's memory. Wall seconds begin here, after this interpreter has started.
"""

import json
import os
import sys
import time


def main() -> int:
    report, *command = sys.argv[1:]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    # wait4 and not wait: only it gives this child's own peak memory.
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    with open(report, "w") as file:
        json.dump([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], file)
    return min(abs(os.waitstatus_to_exitcode(status)), 255)


if __name__ == "__main__":
    sys.exit(main())
