"""`miniseries up` in a home of its own, the plain `prefect` command beside it, and every process that came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from running import ROOT

MARK = "MINISERIES_UP"


@dataclass(frozen=True)
class LocalInstallation:
    """One user of this machine, as far as a home folder goes."""

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """A clean shell's, with this Python's programs in the path."""
        foreign = ("MINISERIES_", "PREFECT_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **inherited,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "OMP_NUM_THREADS": "1",
            **self.variables,
        }

    @property
    def folder(self) -> Path:
        return self.home / "state" / "miniseries" / "up"

    @property
    def profiles(self) -> Path:
        return self.home / ".prefect" / "profiles.toml"

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in the background, as in a terminal of its own."""
        return subprocess.Popen(
            [program, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who runs the tests may ignore it
        )

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        process = self.start(program, *arguments)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def miniseries(self, *arguments: str) -> Any:
        """Run it, expect success, return its JSON."""
        done = self.run("miniseries", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def prefect(self, *arguments: str) -> str:
        """Run the plain command, expect success, return what it said."""
        done = self.run("prefect", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        """Everything alive that descends from an `up` of this home."""
        return [process for process in psutil.process_iter() if _mark_of(process) == str(self.folder)]

    def end(self) -> None:
        """Kill whatever is left."""
        left = self.processes()
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def ask(api: str, path: str, query: object | None = None) -> Any:
    """GET from the Prefect API, or POST a query to it."""
    data = None if query is None else json.dumps(query).encode()
    request = urllib.request.Request(f"{api}/{path}", data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None
