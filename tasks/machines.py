"""A stage on several machines: the first one posts each launch in a folder that all share, the others join it.

    <MINISERIES_CACHE>/machines/<host>-<port>/     one first machine, by its rendezvous
        lock                                       held by the run that launches there
        <launch>/specification.json, outcome-*.json
                 launch.json                       written last: from now on others may join
                 place-1.log, place-2.log ...      one for each other machine: made by the one that takes the place

The machine that posts has place 0, and so the ranks that begin with 0: what rank 0 writes is read where it was written,
however late a network file system shows it to others. It supervises; what the others print is copied into its log.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter

from artifacts.errors import StoreError

ANNOUNCEMENT = "launch.json"
SPECIFICATION = "specification.json"
ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
JOIN_SECONDS = 600  # that a launch waits for all machines
LOOK_SECONDS = 1.0  # between looks at what other machines print
PACKAGES = ("miniseries", "torch")  # that must be the same on all machines


class MachinesError(StoreError):
    """Several machines cannot work together: says why, and what would do."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """How many machines make a heavy stage, and where they find each other."""

    nodes: int
    rendezvous: str  # host:port of the first machine, as the others reach it
    folder: Path  # on a disk that all share

    def __post_init__(self) -> None:
        if ENDPOINT.fullmatch(self.rendezvous) is None:
            raise MachinesError(
                f"MINISERIES_RENDEZVOUS={self.rendezvous!r} is no address; set host:port of this machine, with a free "
                "port that the other machines reach"
            )

    @property
    def meeting(self) -> Path:
        """The folder in which this first machine posts its launches."""
        return self.folder / re.sub("[^A-Za-z0-9.]+", "-", self.rendezvous)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of a stage on several machines, as all of them must know it."""

    identifier: str  # no other launch has it
    rendezvous: str
    nodes: int
    processes: int  # ranks on each machine
    packages: dict[str, str]  # versions

    def write(self, folder: Path) -> None:
        """Announce it, whole or not at all."""
        part = folder / f".{ANNOUNCEMENT}.part"
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        part.rename(folder / ANNOUNCEMENT)

    @classmethod
    def read(cls, folder: Path) -> Launch:
        """Read what `write` wrote."""
        return TypeAdapter(cls).validate_json((folder / ANNOUNCEMENT).read_bytes())


@dataclass(frozen=True, kw_only=True)
class Place:
    """One machine's part in a launch."""

    launch: Launch
    index: int  # 0: the machine that posted it

    def gathering(self) -> list[str]:
        """What torchrun is told so that the machines find each other."""
        launch, host = self.launch, self.launch.rendezvous.rpartition(":")[0].strip("[]")
        return [
            f"--nnodes={launch.nodes}",
            "--rdzv-backend=c10d",
            f"--rdzv-id={launch.identifier}",
            f"--rdzv-endpoint={launch.rendezvous}",
            f"--rdzv-conf=is_host={int(self.index == 0)},join_timeout={JOIN_SECONDS}",
            f"--local-addr={host if self.index == 0 else _address_towards(launch.rendezvous)}",
        ]

    def environment(self) -> dict[str, str]:
        """What the ranks of this machine are told besides: see `core.training.distributed`."""
        return {"MINISERIES_PLACE": str(self.index)}


def versions() -> dict[str, str]:
    """Of the packages that must be the same on all machines."""
    return {name: metadata.version(name) for name in PACKAGES}


class Posted:
    """A launch as the machine that posts it sees it: who has come, and what they print."""

    def __init__(self, machines: Machines, folder: Path, processes: int, log: Path, say: Callable[[str], None]) -> None:
        """Announce the launch whose specification is in `folder`, with so many `processes` on each machine."""
        launch = Launch(
            identifier=folder.name,
            rendezvous=machines.rendezvous,
            nodes=machines.nodes,
            processes=processes,
            packages=versions(),
        )
        launch.write(folder)
        self.place = Place(launch=launch, index=0)
        self._folder = folder
        self._log = log
        self._say = say
        self._read: dict[Path, int] = {}  # log of another machine -> bytes copied
        self._looked = float("-inf")
        self._began = time.monotonic()
        say(
            f"waiting for {launch.nodes - 1} more of {launch.nodes} machines; on each of them, once: "
            f"miniseries join {folder.parent}"
        )

    def look(self) -> None:
        """Copy whole new lines of the others into the log of the stage, and tell when one came; often is fine."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        for path in sorted(self._folder.glob("place-*.log")):
            if path not in self._read:
                self._read[path] = 0
                self._say(f"{len(self._read) + 1} of {self.place.launch.nodes} machines are there")
            self._copy(path)
        self._looked = time.monotonic()

    def check_complete(self) -> None:
        """Raise `MachinesError` when the launch has waited as long as it does, and not all machines came."""
        there, nodes = len(self._read) + 1, self.place.launch.nodes
        if there < nodes and time.monotonic() - self._began >= JOIN_SECONDS:
            raise MachinesError(
                f"only {there} of {nodes} machines came within {JOIN_SECONDS // 60} minutes; run on the others: "
                f"miniseries join {self._folder.parent}"
            )

    def _copy(self, path: Path) -> None:
        with path.open("rb") as reader:
            reader.seek(self._read[path])
            lines, end, _ = reader.read().rpartition(b"\n")
        if end:
            self._read[path] += len(lines) + 1
            with self._log.open("ab", buffering=0) as log:
                log.write(lines + end)


@contextmanager
def launch_folder(machines: Machines | None) -> Iterator[Path]:
    """An empty folder for one launch, removed afterwards: on this machine, or where all machines see it.

    Raises `MachinesError` when another run on this machine uses the rendezvous.
    """
    if machines is None:
        with tempfile.TemporaryDirectory(prefix="miniseries-") as name:
            yield Path(name)
        return
    # A network file system keeps what others have open: what cannot be removed now is removed by the next launch.
    with (
        _rendezvous_folder(machines) as shared,
        tempfile.TemporaryDirectory(prefix="launch-", dir=shared, ignore_cleanup_errors=True) as name,
    ):
        try:
            yield Path(name)
        finally:
            (Path(name) / ANNOUNCEMENT).unlink(missing_ok=True)  # first: nobody may join any more


@contextmanager
def _rendezvous_folder(machines: Machines) -> Iterator[Path]:
    """The folder of the machine's launches, this run's alone; what a killed one left is removed."""
    folder = machines.meeting
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachinesError(
                f"another run gathers machines at {machines.rendezvous} (MINISERIES_RENDEZVOUS); wait for it, or "
                "choose another port"
            ) from None
        for left in folder.glob("launch-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield folder


def take_place(folder: Path) -> tuple[Place, Path] | None:
    """A free place in the launch posted in `folder`, with its log; None when there is none, or no launch any more.

    Raises `MachinesError` when this machine has other versions than the one that posted it.
    """
    try:
        launch = Launch.read(folder)
        if launch.packages != versions():
            raise MachinesError(
                f"the machine at {launch.rendezvous} has {_shown(launch.packages)}, this one {_shown(versions())}; "
                "install the same on both"
            )
        for index in range(1, launch.nodes):
            log = folder / f"place-{index}.log"
            try:
                log.touch(exist_ok=False)
            except FileExistsError:
                continue
            return Place(launch=launch, index=index), log
    except FileNotFoundError:
        return None
    return None


def posted_in(folder: Path) -> list[Path]:
    """The launches that can be joined now."""
    return sorted(path.parent for path in folder.glob(f"launch-*/{ANNOUNCEMENT}"))


def _shown(packages: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _address_towards(endpoint: str) -> str:
    """This machine's address on the way to `endpoint`: others may not know its name."""
    match = ENDPOINT.fullmatch(endpoint)
    assert match is not None, endpoint
    host, port = match["host"].strip("[]"), int(match["port"])
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as towards:
        towards.connect(address)  # of a datagram socket: nothing is sent
        return str(towards.getsockname()[0])


def machines_from_environment(gpu_jobs: int) -> Machines | None:
    """MINISERIES_NODES, _RENDEZVOUS and the shared MINISERIES_CACHE; None for one machine. Raises `MachinesError`."""
    text = os.environ.get("MINISERIES_NODES", "") or "1"
    if not (text.isascii() and text.isdigit() and int(text)):
        raise MachinesError(f"MINISERIES_NODES={text!r} is no count; set a whole number of at least 1, or unset it")
    if int(text) == 1:
        return None
    cache, rendezvous = os.environ.get("MINISERIES_CACHE"), os.environ.get("MINISERIES_RENDEZVOUS")
    if not cache:
        raise MachinesError(
            f"MINISERIES_NODES={text} needs a folder that all machines share, for inputs and what they tell each "
            "other; name it in MINISERIES_CACHE"
        )
    if not rendezvous:
        raise MachinesError(
            f"MINISERIES_NODES={text} needs MINISERIES_RENDEZVOUS=host:port, where the other machines reach this one"
        )
    if gpu_jobs > 1:
        raise MachinesError(
            f"MINISERIES_GPU_JOBS={gpu_jobs}, but with MINISERIES_NODES={text} a stage takes all GPUs of all machines; "
            "unset one of them"
        )
    return Machines(nodes=int(text), rendezvous=rendezvous, folder=Path(cache).expanduser().absolute() / "machines")
