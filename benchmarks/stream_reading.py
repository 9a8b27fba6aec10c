"""How long training waits for rows: streamed from S3 with prefetching, without it, and mapped from local disk.

    python -m benchmarks.stream_reading [--groups N] [--megabytes N] [--step-ms N] [--json FILE]

Each reader reads the same stream step by step from a store of its own machine, with an empty cache that holds
`--cached` groups, and between two steps the program sleeps for as long as a device would compute. What counts is what a
step waits for its rows. The S3 server is moto on this machine, which is slower than a real one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store
from benchmarks.support.moto_server import BUCKET, moto_server
from core.data.rows import Rows, RowsWriter, Stream, StreamLayout
from core.data.streaming import StreamedRows
from core.stages.streamed import StreamedArtifact, StreamedInput

ROW_TOKENS = 2049
VOCABULARY = 32_768
STEP_ROWS = 1024  # two steps of 2^20 tokens
STALL_SECONDS = 0.1

Read = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class Waited:
    """What the steps of one reader waited for their rows."""

    reader: str
    steps: int
    first_seconds: float  # of the first step, for which nothing can be fetched ahead
    median_seconds: float  # of the others
    longest_seconds: float
    stalls: int  # that took longer than .1 s
    total_seconds: float  # of all steps together
    peak_megabytes: float  # of local copies, seen after each step


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", type=int, default=5, help="packed groups (default: 5)")
    parser.add_argument("--megabytes", type=int, default=50, help="size of one (default: 50)")
    parser.add_argument("--cached", type=float, default=2.5, help="groups that the cache has room for (default: 2.5)")
    parser.add_argument("--step-ms", type=float, default=250, help="pretended computation of a step (default: 250)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    rows = arguments.megabytes * 10**6 // (2 * ROW_TOKENS)
    os.environ["MINISERIES_CACHE_GB"] = str(arguments.cached * arguments.megabytes / 1000)
    with TemporaryDirectory() as folder, moto_server(Path(folder) / "moto.log"):
        root = Path(folder)
        url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
        folders = write_groups(root / "groups", arguments.groups, rows)
        artifacts = commit_groups(Store.open(url, root / "packer"), folders, rows)
        measured = []
        for name, reader in readers(url, artifacts, folders, root).items():
            with reader as read:
                measured.append(timed(name, read, len(folders) * rows, arguments.step_ms / 1000, root / name))
    Console().print(table_of(measured))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in measured], indent=1) + "\n")


def write_groups(root: Path, count: int, rows: int) -> list[Path]:
    """Packed rows of random tokens, on disk as pack stages leave them."""
    generator, folders = np.random.default_rng(0), []
    for number in range(count):
        folder = root / str(number)
        folder.mkdir(parents=True)
        with RowsWriter(folder, "rows", ROW_TOKENS, VOCABULARY) as writer:
            writer.append(generator.integers(0, VOCABULARY, (rows, ROW_TOKENS), dtype=np.uint16))
        folders.append(folder)
    return folders


def commit_groups(store: Store, folders: Sequence[Path], rows: int) -> list[StreamedArtifact]:
    """Put them into the bucket as artifacts."""
    artifacts = []
    for folder in folders:
        address = Address("pack", "benchmark", uuid.uuid4().hex * 2)
        lease = store.leases.acquire(address, "benchmark", ttl=600.0)
        assert isinstance(lease, HeldLease), "nobody else knows this address"
        with store.attempt(address, lease) as attempt:
            for path in folder.iterdir():
                (attempt.output / path.name).write_bytes(path.read_bytes())
            attempt.commit(stage_version=1, identity={}, inputs={}, metrics={"rows": rows}, provenance={})
        lease.release()
        artifacts.append(StreamedArtifact(address=address, rows=rows))
    return artifacts


def readers(
    url: str, artifacts: Sequence[StreamedArtifact], folders: Sequence[Path], root: Path
) -> dict[str, AbstractContextManager[Read]]:
    """Every way to read the stream, by name; a remote one gets a machine of its own, the folder of that name."""

    @contextmanager
    def streamed() -> Iterator[Read]:
        store = Store.open(url, root / "streamed")
        groups = [StreamedInput(artifact=artifact, store=store) for artifact in artifacts]
        end = sum(artifact.rows for artifact in artifacts)
        with StreamedRows(groups, ROW_TOKENS, end=end, say=lambda line: None) as rows:
            yield rows.read

    @contextmanager
    def on_demand() -> Iterator[Read]:
        store, layout = Store.open(url, root / "on demand"), StreamLayout([artifact.rows for artifact in artifacts])

        @lru_cache(maxsize=1)
        def group(number: int) -> Rows:
            return Rows.open(store.fetch(artifacts[number].address))

        yield lambda start, count: [group(piece.visit)[piece.rows] for piece in layout.pieces(start, count)]

    mapped = nullcontext(Stream([Rows.open(folder) for folder in folders]).read)
    return {"mapped": mapped, "streamed": streamed(), "on demand": on_demand()}


def timed(name: str, read: Read, rows: int, step_seconds: float, cache: Path) -> Waited:
    """Read the stream once from the beginning to the end."""
    waits, peak = [], 0
    for start in range(0, rows - STEP_ROWS + 1, STEP_ROWS):
        started = time.perf_counter()
        read(start, STEP_ROWS)
        waits.append(time.perf_counter() - started)
        peak = max(peak, bytes_below(cache))
        time.sleep(step_seconds)
    others = sorted(waits[1:])
    return Waited(
        reader=name,
        steps=len(waits),
        first_seconds=waits[0],
        median_seconds=others[len(others) // 2],
        longest_seconds=others[-1],
        stalls=sum(wait > STALL_SECONDS for wait in others),
        total_seconds=sum(waits),
        peak_megabytes=peak / 1e6,
    )


def bytes_below(folder: Path) -> int:
    """Size of all files; what is renamed or removed meanwhile is counted once or not at all."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total


def table_of(measured: Sequence[Waited]) -> Table:
    """One line a reader."""
    table = Table(
        "reader", "steps", "first step", "median", "longest", "stalls > .1 s", "waited in all", "peak on disk"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for one in measured:
        table.add_row(
            one.reader,
            str(one.steps),
            f"{one.first_seconds:.2f} s",
            f"{one.median_seconds * 1000:.1f} ms",
            f"{one.longest_seconds * 1000:,.0f} ms",
            str(one.stalls),
            f"{one.total_seconds:.1f} s",
            f"{one.peak_megabytes:,.0f} MB",
        )
    return table


if __name__ == "__main__":
    main()
