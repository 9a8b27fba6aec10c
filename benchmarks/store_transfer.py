"""How fast the store moves artifacts, next to programs that only copy.

    python -m benchmarks.store_transfer [--megabytes N] [--json FILE]

Everything printed was measured in this run, on a local folder and on a moto S3 server process; the store and its peers
move the same bytes by turns, and the median of the rounds counts. The store does more than its peers: it hashes what it
writes and what it reads, waits for the disk, and commits under a lease. On a folder it copies nothing: a stage
writes in place, so `commit` there is hashing and flushing. Server and client share this machine: compare the rates
with each other, not with those of a real server.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store
from benchmarks.support.moto_server import BUCKET, moto_server
from benchmarks.support.plain_copies import Peer, PlainCopy, PlainObstore, PlainS3fs

LARGE_FILES = 4  # that the megabytes are divided into
SMALL_FILES = 24
SMALL_BYTES = 1000
CALLS = 10  # of a small-object operation, in one round
ROUNDS = 3

Action = Callable[[], object]
Timing = Callable[[int], float]  # one round, by its number -> seconds


@dataclass(frozen=True)
class Measured:
    """One operation of one program: `amount` of `unit` took `seconds`, the median of the rounds."""

    place: str
    operation: str
    program: str
    amount: float
    unit: str  # MB (10^6 bytes), or what is counted
    seconds: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.amount / self.seconds


class Bench:
    """Times the store and its peers at one place; `root` is a scratch folder."""

    def __init__(self, place: str, url: str, peers: Sequence[Peer], root: Path) -> None:
        self.place, self._url, self._peers, self._root = place, url, peers, root
        self._store = self._open()
        self._store.check_writable()

    def transfers(self, label: str, source: Path, amount: float, unit: str) -> Iterator[Measured]:
        """Commit the files of `source` as an artifact, fetch it on another machine, save the files as a checkpoint."""
        addresses = [_address() for _ in range(ROUNDS)]

        def put(name: str, peer: Peer) -> Timing:
            return lambda number: _timed(lambda: peer.put(source, f"{name}-{number}"))

        def get(peer: Peer) -> Timing:
            return lambda number: self._get(peer, f"{source.name}-{number}", source)

        operations: dict[str, tuple[Timing, Callable[[Peer], Timing]]] = {
            "commit": (lambda number: self._commit(addresses[number], source), partial(put, source.name)),
            "fetch": (lambda number: self._fetch(addresses[number], source), get),
            "checkpoint": (lambda number: self._checkpoint(source), partial(put, f"{source.name}-again")),
        }
        for operation, (ours, theirs) in operations.items():
            yield from self._by_turns(f"{operation} {label}", amount, unit, ours, theirs)

    def calls(self) -> Iterator[Measured]:
        """Small requests: read a manifest, decide whether a stage is cached, hold a lease."""
        source, address = self._root / "one", _address()
        write_files(source, 1, SMALL_BYTES)
        self._commit(address, source)
        content = (source / "00000.bin").read_bytes()
        for peer in self._peers:
            peer.write("object", content)

        def read(peer: Peer) -> Timing:
            return _repeated(lambda: peer.read("object"))

        def write(peer: Peer) -> Timing:
            return _repeated(lambda: peer.write("object", content))

        operations: dict[str, tuple[Action, Callable[[Peer], Timing]]] = {
            "read a manifest / an object": (lambda: self._store.manifest(address), read),
            "find a stage cached / read an object": (lambda: self._store.is_whole(address), read),
            "take and release a lease / write an object": (lambda: self._hold(_address()).release(), write),
        }
        for operation, (ours, theirs) in operations.items():
            yield from self._by_turns(operation, CALLS, "calls", _repeated(ours), theirs)

    def _by_turns(
        self, operation: str, amount: float, unit: str, ours: Timing, theirs: Callable[[Peer], Timing]
    ) -> Iterator[Measured]:
        """Ours, then every peer, round after round."""
        programs = {"miniseries": ours, **{peer.name: theirs(peer) for peer in self._peers}}
        rounds = [{program: act(number) for program, act in programs.items()} for number in range(ROUNDS)]
        for program in programs:
            seconds = statistics.median(taken[program] for taken in rounds)
            yield Measured(self.place, operation, program, amount, unit, seconds)

    def _open(self) -> Store:
        """The store as a machine sees it that has never read from it."""
        return Store.open(self._url, self._root / "caches" / uuid.uuid4().hex)

    def _hold(self, address: Address) -> HeldLease:
        lease = self._store.leases.acquire(address, "benchmark", ttl=600.0)
        if not isinstance(lease, HeldLease):
            raise SystemExit(f"{address}: somebody else holds the lease of an artifact that was just named")
        return lease

    def _commit(self, address: Address, source: Path) -> float:
        lease = self._hold(address)
        with self._store.attempt(address, lease) as attempt:
            shutil.copytree(source, attempt.output, dirs_exist_ok=True)  # the stage's own writing: not timed
            commit = partial(attempt.commit, stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
            seconds = _timed(commit)
        lease.release()
        return seconds

    def _checkpoint(self, source: Path) -> float:
        address = _address()
        progress = self._store.progress(address, self._hold(address).token)
        return _timed(lambda: progress.save(1, source))

    def _fetch(self, address: Address, source: Path) -> float:
        store = self._open()
        seconds = _timed(lambda: store.fetch(address))
        _check(source, store.fetch(address))
        return seconds

    def _get(self, peer: Peer, name: str, source: Path) -> float:
        target = self._root / f"{peer.name}-{name}"
        seconds = _timed(lambda: peer.get(name, target))
        _check(source, target)
        return seconds


def write_files(folder: Path, count: int, size: int) -> None:
    """`count` files of `size` bytes that do not compress."""
    folder.mkdir(parents=True)
    generator = random.Random(count)
    for number in range(count):
        (folder / f"{number:05d}.bin").write_bytes(generator.randbytes(size))


def table_of(measured: Sequence[Measured]) -> Table:
    """One line an operation and peer, with our rate as a share of the peer's."""
    table = Table("place", "operation", "unit", "miniseries", "peer", "peer's rate", "miniseries / peer")
    for column in table.columns[3:]:
        column.justify = "right"
    ours = {(one.place, one.operation): one for one in measured if one.program == "miniseries"}
    for theirs in measured:
        own = ours[theirs.place, theirs.operation]
        if theirs is not own:
            rates = f"{own.rate:,.1f}", theirs.program, f"{theirs.rate:,.1f}", f"{own.rate / theirs.rate:.2f}"
            table.add_row(theirs.place, theirs.operation, f"{theirs.unit}/s", *rates)
    return table


def main() -> None:
    """Measure both places, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=16, help="size of the large artifact, in 10^6 bytes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    has_obstore = importlib.util.find_spec("obstore") is not None
    measured: list[Measured] = []
    with TemporaryDirectory(prefix="miniseries-benchmark-") as folder, moto_server(Path(folder) / "moto.log"):
        root = Path(folder)
        write_files(root / "large", LARGE_FILES, arguments.megabytes * 10**6 // LARGE_FILES)
        write_files(root / "small", SMALL_FILES, SMALL_BYTES)
        remote: list[Peer] = [PlainS3fs(), *([PlainObstore()] if has_obstore else [])]
        for bench in (
            Bench("folder", (root / "store").as_uri(), [PlainCopy(root / "plain")], _new(root / "local")),
            Bench("S3 (moto)", f"s3://{BUCKET}/store", remote, _new(root / "remote")),
        ):
            measured += bench.transfers(f"{LARGE_FILES} large files", root / "large", arguments.megabytes, "MB")
            measured += bench.transfers(f"{SMALL_FILES} small files", root / "small", SMALL_FILES, "files")
            measured += bench.calls()
    Console(width=None if sys.stdout.isatty() else 140).print(table_of(measured))
    if not has_obstore:
        print("obstore: not installed, so not compared")
    if arguments.json:
        values = [{**asdict(one), "rate": one.rate} for one in measured]
        settings = {"megabytes": arguments.megabytes, "rounds": ROUNDS, "obstore": has_obstore}
        arguments.json.write_text(json.dumps({**settings, "measured": values}, indent=1) + "\n", encoding="utf-8")


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _address() -> Address:
    return Address("benchmark", "files", uuid.uuid4().hex * 2)


def _timed(act: Action) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _repeated(act: Action) -> Timing:
    return lambda number: _timed(lambda: [act() for _ in range(CALLS)])


def _check(source: Path, target: Path) -> None:
    """A copy that lost something is no measurement."""
    sizes = [{path.name: path.stat().st_size for path in folder.iterdir()} for folder in (source, target)]
    if sizes[0] != sizes[1]:
        raise SystemExit(f"{target} holds {len(sizes[1])} files that are not those of {source}; nothing was measured")


if __name__ == "__main__":
    main()
