"""Running a program that a model wrote, to see whether it passes its checks: in a process of its own, with limits.

    time        5 s of processor, 15 s in all
    memory      512 MB of address space
    files       1 MB each, in a folder of its own that is removed
    processes   no second one

and where the system allows namespaces

    disk        16 MB in all, in memory
    our home    empty: it is where tokens and credentials are
    processes   no sight of others, whose environment holds more of them
    network     none

The limit on processes does not bind root, so where we are root, a program runs as nobody. Where we are not and there
are no namespaces either, it could read what we can, so it does not run at all. This keeps accidents in:
endless loops, memory, files, forks. It is no border against an attacker who writes code for it, so it runs only for
tasks that a recipe asks for by name.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.stages.context import StageError

SECONDS = 15  # of wall time
NOBODY = 65_534
LAUNCHER = Path(__file__).with_name("confined_program.py").read_text(encoding="utf-8")
PASSED = 42  # the launcher's exit code for a program that ran to its end: sys.exit(0) in the middle is no pass

_NAMESPACES = ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
_OWN_MOUNTS = ("--mount", "--mount-proc", "sh", "-c")
_MOUNT = 'mount -t tmpfs -o size=64k tmpfs "$0" && mount -t tmpfs -o size=16m tmpfs . && cd "$PWD" && exec "$@"'
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_IMPORT = re.compile(r"^(?:from|import) .+$", re.MULTILINE)


def python_program(prompt: str, answer: str, checks: str) -> str:
    """The imports of the prompt, the code of the answer (its first fenced block, where it has one), the checks."""
    fenced = _FENCED.search(answer)
    code = fenced[1] if fenced else answer
    return "\n".join([*_IMPORT.findall(prompt), code, checks])


def passes(program: str) -> bool:
    """Whether the program runs to its end, within its limits and without an exception.

    Raises `StageError` where programs cannot be confined.
    """
    confinement = find_confinement()
    with tempfile.TemporaryDirectory(prefix="miniseries-program-") as folder:
        return confinement.run(program, folder) == PASSED


@dataclass(frozen=True)
class Confinement:
    """How programs are kept apart on this system."""

    interpreter: str
    namespaces: tuple[str, ...]  # the command before the command that takes network and other processes away
    user: int | None  # whose rights they have; None: ours

    def run(self, program: str, folder: str) -> int | None:
        """The launcher's exit code for a program in an empty folder; None when its time was over."""
        if self.user is not None:
            os.chown(folder, self.user, self.user)
        process = self._start(["-c", LAUNCHER, str(PASSED)], folder)
        try:
            process.communicate(program.encode("utf-8", "replace"), SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_session(process)
        return process.returncode

    def works(self) -> bool:
        """Whether an empty program runs to its end."""
        with tempfile.TemporaryDirectory(prefix="miniseries-program-") as folder:
            try:
                return self.run("", folder) == PASSED
            except OSError:
                return False

    def _start(self, arguments: Sequence[str], folder: str) -> subprocess.Popen[bytes]:
        """Run the interpreter in a session of its own, without our environment or output."""
        return subprocess.Popen(
            [*self.namespaces, self.interpreter, "-I", "-S", *arguments],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )


@cache
def find_confinement() -> Confinement:
    """The strictest that works here; raises `StageError` when none does."""
    user = NOBODY if os.geteuid() == 0 else None
    interpreters = dict.fromkeys([sys.executable, shutil.which("python3", path=os.defpath) or sys.executable])
    for before in _namespaces(may_do_without=user is not None):
        for interpreter in interpreters:
            confinement = Confinement(interpreter, before, user)
            if confinement.works():
                return confinement
    raise StageError(
        "programs cannot be confined here: it takes user namespaces (`unshare --user`), or root and a python3 that the "
        "user nobody can run; allow one of them, or leave the task out of evaluation.questions"
    )


def _namespaces(*, may_do_without: bool) -> list[tuple[str, ...]]:
    """Commands before the command, the strictest first; containers may forbid mounts, or any namespace."""
    unshare = shutil.which("unshare")
    found: list[tuple[str, ...]] = [()] if may_do_without else []
    if unshare is not None:
        own_mounts = (unshare, *_NAMESPACES, *_OWN_MOUNTS, _MOUNT, str(Path.home()))
        found = [own_mounts, (unshare, *_NAMESPACES, "--"), *found]
    return found


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the program and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all have ended
        return
    finally:
        process.wait()
