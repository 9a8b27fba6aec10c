"""What `miniseries plan --all --json` takes: processor and wall time of the whole command, from its start to its end.

    python -m benchmarks.plan_all [--json FILE]

Everything printed was measured in this run: on a local folder and on a moto S3 server process, each empty and then with
every artifact of the 20 models in it (small objects under the names that real ones have, since a plan reads none). The
processor time is of the command alone, the server's is not in it; it should stay below 2 seconds. The median of the
rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from artifacts.bucket import BucketStorage
from artifacts.folder import FolderStorage
from artifacts.location import store_location
from artifacts.storage import Storage
from artifacts.transfer import at_once
from benchmarks.support.moto_server import BUCKET, moto_server
from core.planning.catalogue import stages_of
from core.recipes.table import chosen_family

ROUNDS = 3
LIMIT_SECONDS = 2.0  # of processor time
FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "loss.jsonl", "metrics.jsonl", "loss.svg")


@dataclass(frozen=True)
class Measured:
    """One plan of the 20 tags; the median of the rounds."""

    place: str
    contents: str
    objects: int
    stages: int
    cpu_seconds: float
    wall_seconds: float


def measure(place: str, url: str, root: Path) -> Iterator[Measured]:
    """Plan against the store at `url`, empty and then full."""
    storage = _storage(url)
    yield _planned(place, "empty", url, 0, root)
    yield _planned(place, "every artifact", url, _fill(storage), root)


def _planned(place: str, contents: str, url: str, objects: int, root: Path) -> Measured:
    rounds = [_plan(url, root) for _ in range(ROUNDS)]
    cpu = statistics.median(cpu for cpu, _, _ in rounds)
    wall = statistics.median(wall for _, wall, _ in rounds)
    return Measured(place, contents, objects, rounds[0][2], cpu, wall)


def _plan(url: str, root: Path) -> tuple[float, float, int]:
    """Processor seconds, wall seconds, and stages of one plan, which must be the right one."""
    environment = {**os.environ, "MINISERIES_STORE": url, "XDG_CACHE_HOME": str(root / "cache")}
    command = [sys.executable, "-m", "flows.command_line", "plan", "--all", "--json"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    plan = json.loads(done.stdout)
    if plan["totals"]["tokens"] != 66_351_792_128:
        raise SystemExit(f"the plan counts {plan['totals']['tokens']:,} tokens, which is wrong; nothing was measured")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, len(plan["stages"])


def _fill(storage: Storage) -> int:
    """Write the objects of every finished artifact; return how many there are."""
    folders = dict.fromkeys(stage.address.folder for tag in chosen_family() for stage in stages_of(tag).values())
    names = ("manifest.json", "lease.json", *(f"files/0001-00000000/{name}" for name in FILES))
    paths = [f"{folder}/{name}" for folder in folders for name in names]
    at_once(lambda path: storage.create(path, path.encode()), paths)
    return len(paths)


def _storage(url: str) -> Storage:
    location = store_location(url)
    if location.folder is not None:
        return FolderStorage(location.folder, location.url)
    return BucketStorage(location.bucket, location.prefix, location.url)


def table_of(measured: Sequence[Measured]) -> Table:
    """One line a store."""
    table = Table("place", "contents", "objects", "stages", "CPU s", "wall s", f"CPU below {LIMIT_SECONDS:g} s")
    for column in table.columns[2:]:
        column.justify = "right"
    for one in measured:
        verdict = "yes" if one.cpu_seconds < LIMIT_SECONDS else "no"
        seconds = f"{one.cpu_seconds:.2f}", f"{one.wall_seconds:.2f}"
        table.add_row(one.place, one.contents, f"{one.objects:,}", str(one.stages), *seconds, verdict)
    return table


def main() -> None:
    """Measure both places, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="miniseries-benchmark-") as folder, moto_server(Path(folder) / "moto.log"):
        root = Path(folder)
        places = {"folder": (root / "store").as_uri(), "S3 (moto)": f"s3://{BUCKET}/store"}
        measured = [one for place, url in places.items() for one in measure(place, url, root)]
    Console(width=None if sys.stdout.isatty() else 140).print(table_of(measured))
    if arguments.json:
        values = {"rounds": ROUNDS, "limit_cpu_seconds": LIMIT_SECONDS, "measured": [asdict(one) for one in measured]}
        arguments.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
