"""Starting the real command line and servers, and waiting for what they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "support" / "micro_miniseries.py"
WAIT_SECONDS = 300.0  # for something that must happen: only a hang lasts this long


def wait_until(condition: Callable[[], Any]) -> Any:
    """Look until `condition` is true and return its value; fail when it never is."""
    pause = threading.Event()
    for _ in range(int(WAIT_SECONDS / 0.02)):
        if value := condition():
            return value
        pause.wait(0.02)
    raise AssertionError("what was waited for did not happen")


@dataclass(frozen=True)
class Miniseries:
    """The micro command line against one store, in a home of its own."""

    home: Path
    store: str
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Path = PROGRAM

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it in the background."""
        return subprocess.Popen(
            [sys.executable, str(self.program), *arguments],
            cwd=ROOT,
            env=self.environment_for(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        process = self.start(*arguments, **environment)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def json(self, *arguments: str, **environment: str) -> Any:
        """Run it, expect success, and return its JSON."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def manifests(self, kind: str) -> list[dict[str, Any]]:
        """The committed manifests of a kind, in a local store, by name."""
        paths = sorted((Path(self.store) / kind).glob("*/manifest.json"))
        return [json.loads(path.read_text()) for path in paths]

    def checkpoint(self, kind: str) -> Callable[[], list[Path]]:
        """What to wait for: a declared checkpoint of an unfinished stage of `kind`."""
        return lambda: list((Path(self.store) / kind).glob("*/progress/*/checkpoint.json"))

    def on_copy(self, home: Path) -> Miniseries:
        """The same against a copy of the (local) store."""
        shutil.copytree(self.store, home / "store", symlinks=True)
        return replace(self, home=home, store=str(home / "store"))

    def environment_for(self, more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINISERIES_")}
        return {
            **inherited,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "MINISERIES_STORE": self.store,
            "OMP_NUM_THREADS": "1",
            **self.environment,
            **more,
        }


def find_descendant(process: subprocess.Popen[str], *words: str) -> psutil.Process | None:
    """The process below this one whose command line has all these words, if there is one now."""
    for member in psutil.Process(process.pid).children(recursive=True):
        try:
            if set(words) <= set(member.cmdline()):
                return member
        except psutil.NoSuchProcess:  # it ended between the listing and the look
            continue
    return None


def end_family(leader: psutil.Process) -> None:
    """Kill a process and everything it started."""
    family = [leader, *leader.children(recursive=True)]
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
