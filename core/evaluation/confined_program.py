"""Run the program on standard input under limits: `confined_program.py PASSED`, the exit code if it runs to its end.

Executed by `core.evaluation.program` in an isolated interpreter; imports nothing of this project.
"""

import contextlib
import os
import resource
import sys

LIMITS = {
    resource.RLIMIT_CPU: 5,  # seconds
    resource.RLIMIT_AS: 512 * 2**20,  # bytes
    resource.RLIMIT_FSIZE: 2**20,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_NPROC: 1,
    resource.RLIMIT_CORE: 0,
}


def main(passed: int) -> None:
    """Exit with `passed` when the program does not raise, and with 1 when it does."""
    for limit, value in LIMITS.items():
        resource.setrlimit(limit, (value, value))
    source = sys.stdin.read()
    code = 1
    with contextlib.suppress(BaseException):  # of whatever kind: a SystemExit is no pass
        exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
        code = passed
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
