"""Shards come whole and verified over a network that fails, or the error says what is missing.

Real stage processes against a real server; a second process continues what a killed one left.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_server import COMMIT, DatasetServer, Fault, Get, serving_dataset

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store
from core.data.corpus import collect
from core.data.corpus.artifact import shard_file
from core.stages.identity import CorpusIdentity
from core.stages.kind import StageKind
from core.stages.report import Progress, parse
from core.stages.runtime import Runtime
from core.stages.specification import Outcome, Specification, read_outcomes

REPOSITORY = "karpathy/climbmix-400b-shuffle"
SHARDS = 4
CHILD = (
    "import sys; from pathlib import Path; from core.stages.child import run_child;"
    "sys.exit(run_child(Path(sys.argv[1])))"
)


def shard(number: int) -> bytes:
    """A parquet shard of some 200 kB of words."""
    words = random.Random(number)
    texts = ["".join(words.choices("abcdefghij klmnop", k=1000)) for _ in range(400)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink, row_group_size=100)
    return sink.getvalue()


@pytest.fixture
def hub() -> Iterator[DatasetServer]:
    with serving_dataset(REPOSITORY) as server:
        server.files = {shard_file(number): shard(number) for number in range(SHARDS)}
        yield server


@pytest.fixture
def fetch(hub: DatasetServer, make_elsewhere: Callable, tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Collect shards [0, 4) in a process of its own."""

    def run(**environment: str) -> tuple[Path, Any]:
        places = {"HF_HOME": str(tmp_path / "hf"), "MINISERIES_CACHE": str(tmp_path / "cache")}
        own = {**hub.environment(), **places, "MINISERIES_MIRROR": ""}
        return make_elsewhere(collect, identity(), {**own, **environment})

    return run


def identity(revision: str = COMMIT) -> CorpusIdentity:
    return CorpusIdentity(source="climbmix", revision=revision, first_shard=0, end_shard=SHARDS)


def assert_whole(folder: Path, process: Any, hub: DatasetServer) -> None:
    assert process.returncode == 0, process.stderr
    for name, content in hub.files.items():
        assert (folder / name).read_bytes() == content
    assert {path.name for path in folder.iterdir()} == {"corpus.json", *hub.files}


def one_line(process: Any) -> str:
    assert process.returncode == 1, process.stderr
    return str(process.stderr.splitlines()[-1])


def test_a_dropped_connection_is_continued_at_the_byte_where_it_broke(hub: DatasetServer, fetch: Callable) -> None:
    hub.faults["shard_00001.parquet"] = [Fault(cut=70_000), Fault(cut=50_000)]
    folder, process = fetch()
    assert_whole(folder, process, hub)
    first, second, third = hub.counter.of("shard_00001.parquet")
    assert first == 0 < second <= 70_000
    assert second < third <= second + 50_000
    assert [hub.counter.of(shard_file(number)) for number in (0, 2, 3)] == [[0], [0], [0]]


def test_every_kind_of_failure_at_once_ends_in_a_whole_corpus(hub: DatasetServer, fetch: Callable) -> None:
    hub.faults["shard_00000.parquet"] = [Fault(status=429, retry_after=1), Fault(status=429)]
    hub.faults["shard_00001.parquet"] = [Fault(status=503), Fault(cut=1000), Fault(status=500)]
    hub.faults["shard_00002.parquet"] = [Fault(cut=90_000, truncated=True)]
    folder, process = fetch()
    assert_whole(folder, process, hub)
    assert hub.counter.of("shard_00002.parquet") == [0, 90_000]
    assert hub.counter.tokens == {"Bearer hf_readreadreadread"}


def test_bytes_that_are_not_those_of_the_hub_are_thrown_away_and_read_again(
    hub: DatasetServer, fetch: Callable
) -> None:
    whole = hub.files["shard_00003.parquet"]
    hub.faults["shard_00003.parquet"] = [Fault(damaged=True)]
    folder, process = fetch()
    assert_whole(folder, process, hub)
    assert (folder / "shard_00003.parquet").read_bytes() == whole
    assert hub.counter.of("shard_00003.parquet") == [0, 0]


@pytest.mark.slow
def test_what_never_comes_whole_is_named_with_what_is_missing_of_it(hub: DatasetServer, fetch: Callable) -> None:
    size = len(hub.files["shard_00002.parquet"])
    hub.faults["shard_00002.parquet"] = [Fault(cut=1000), *[Fault(cut=0, truncated=True)] * 10]
    _, process = fetch()
    message = one_line(process)
    assert f"shard_00002.parquet ended after 1,000 of {size:,} bytes; 6 tries, 1,000 of {size:,} bytes" in message
    assert message.endswith("3 of 4 shards are here, missing are shard_00002.parquet")


def test_a_file_that_changes_under_the_run_is_named(hub: DatasetServer, fetch: Callable) -> None:
    hub.becomes["shard_00001.parquet"] = shard(100)
    _, process = fetch()
    assert "shard_00001.parquet changed while it was read: sha256 " in one_line(process)
    assert "pin a revision that stays" in one_line(process)


def test_what_was_read_is_in_the_metrics(hub: DatasetServer, tmp_path: Path, store: Store) -> None:
    outcome = run_stage(hub, store, tmp_path / "one").outcome()
    assert outcome.metrics["revision"] == {"asked": COMMIT, "commit": COMMIT}
    assert outcome.metrics["read"] == [
        {
            "file": name,
            "bytes": len(content),
            "sha256": sha256_of(content),
            "version": COMMIT,
            "rows": 400,
            "skipped": 0,
        }
        for name, content in sorted(hub.files.items())
    ]


def test_progress_tells_rate_and_ends_with_all_shards(hub: DatasetServer, fetch: Callable) -> None:
    _, process = fetch()
    told = [line for line in map(parse, process.stdout.splitlines()) if isinstance(line, Progress)]
    assert (told[-1].done, told[-1].total, told[-1].unit) == (SHARDS, SHARDS, "shards")
    assert "MB/s" in told[-1].text
    reached = [progress.done for progress in told]
    assert reached == sorted(reached)


class Running:
    """A stage process under a lease of its own."""

    def __init__(
        self, hub: DatasetServer, lease: HeldLease, store: Store, folder: Path, checkpoint_seconds: float
    ) -> None:
        folder.mkdir()
        self.folder, self.lease = folder, lease
        Specification(
            kind=StageKind.CORPUS,
            name=lease.address.name,
            key=lease.address.key,
            identity=vars(identity()),
            inputs={},
            output=str(folder / "output"),
            scratch=str(folder / "scratch"),
            store=str(folder.parent / "store"),
            token=lease.token,
            runtime=Runtime(checkpoint_seconds=checkpoint_seconds),
        ).write(folder / "specification.json")
        own = {"HF_HOME": str(folder.parent / "hf"), "MINISERIES_CACHE": str(folder.parent / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder / "specification.json")],
            env={**os.environ, **hub.environment(), **own, "MINISERIES_MIRROR": ""},
            stdout=subprocess.PIPE,
            text=True,
        )

    def outcome(self) -> Outcome:
        """Wait for its end."""
        self.process.communicate()
        (outcome,) = read_outcomes(self.folder)
        self.lease.release()
        return outcome


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "store-cache")


def run_stage(hub: DatasetServer, store: Store, folder: Path, checkpoint_seconds: float = 0.0) -> Running:
    lease = store.leases.acquire(Address("corpus", "climbmix-00000-00004", "0" * 64), "test", 600.0)
    assert isinstance(lease, HeldLease)
    return Running(hub, lease, store, folder, checkpoint_seconds)


def test_a_killed_download_fetches_only_the_bytes_that_are_missing(
    hub: DatasetServer, store: Store, tmp_path: Path
) -> None:
    hub.held = {"shard_00002.parquet"}
    killed = run_stage(hub, store, tmp_path / "first")
    assert hub.holding.wait(60)
    progress = store.progress(killed.lease.address, killed.lease.token)
    partial = tmp_path / "cache" / "downloads" / f"{sha256_of(hub.files['shard_00002.parquet'])}.partial"
    while (saved := progress.newest()) is None or saved.step < SHARDS - 1 or partial.stat().st_size < 1000:
        assert killed.process.poll() is None
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    killed.lease.release()
    hub.held, before = set(), len(hub.counter.gets)
    hub.release.set()
    outcome = run_stage(hub, store, tmp_path / "second").outcome()
    assert outcome.status == "finished", outcome.error
    assert hub.counter.gets[before:] == [Get("shard_00002.parquet", 1000)]
    assert not partial.exists()
    for name, content in hub.files.items():
        assert (tmp_path / "second" / "output" / name).read_bytes() == content
    assert [entry["number"] for entry in json.loads(corpus_json(tmp_path / "second"))["shards"]] == [0, 1, 2, 3]


def test_after_a_failure_only_the_shards_that_it_called_missing_are_fetched(
    hub: DatasetServer, store: Store, tmp_path: Path
) -> None:
    hub.faults["shard_00003.parquet"] = [Fault(status=503), Fault(status=503), Fault(status=403)]
    failed = run_stage(hub, store, tmp_path / "first", checkpoint_seconds=600.0).outcome()
    _, _, missing = failed.error.partition("missing are ")
    before = len(hub.counter.gets)
    outcome = run_stage(hub, store, tmp_path / "second", checkpoint_seconds=600.0).outcome()
    assert outcome.status == "finished", outcome.error
    assert sorted(get.file for get in hub.counter.gets[before:]) == missing.split(", ")


@pytest.mark.slow
def test_a_shard_is_uploaded_with_one_checkpoint(hub: DatasetServer, store: Store, tmp_path: Path) -> None:
    hub.held = {"shard_00002.parquet"}
    stage = run_stage(hub, store, tmp_path / "one")
    assert hub.holding.wait(60)
    progress = store.progress(stage.lease.address, stage.lease.token)
    while sum(len(shards_in(saved.path)) for saved in progress.every()) < SHARDS - 1:
        assert stage.process.poll() is None
    saved = [name for checkpoint in progress.every() for name in shards_in(checkpoint.path)]
    assert sorted(saved) == ["shard_00000.parquet", "shard_00001.parquet", "shard_00003.parquet"]
    hub.release.set()
    assert stage.outcome().status == "finished"


def shards_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.parquet")]


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def corpus_json(folder: Path) -> str:
    return (folder / "output" / "corpus.json").read_text(encoding="utf-8")


def mirror_of(hub: DatasetServer, folder: Path) -> Path:
    place = folder / "mirror" / "datasets" / REPOSITORY / "resolve" / COMMIT
    place.mkdir(parents=True)
    for name, content in hub.files.items():
        (place / name).write_bytes(content)
    return place


def test_a_mirror_is_read_instead_of_the_hub(hub: DatasetServer, fetch: Callable, tmp_path: Path) -> None:
    mirror_of(hub, tmp_path)
    folder, process = fetch(MINISERIES_MIRROR=(tmp_path / "mirror").as_uri())
    assert_whole(folder, process, hub)
    assert hub.counter.gets == []


def test_a_mirror_without_the_file_or_with_other_bytes_is_passed_over_in_one_line(
    hub: DatasetServer, fetch: Callable, tmp_path: Path
) -> None:
    place = mirror_of(hub, tmp_path)
    (place / "shard_00001.parquet").unlink()
    (place / "shard_00002.parquet").write_bytes(hub.files["shard_00002.parquet"][:-1] + b"x")
    folder, process = fetch(MINISERIES_MIRROR=(tmp_path / "mirror").as_uri())
    assert_whole(folder, process, hub)
    assert {get.file for get in hub.counter.gets} == {"shard_00001.parquet", "shard_00002.parquet"}
    told = [line for line in map(parse, process.stdout.splitlines()) if isinstance(line, str)]
    assert sum("is not there; shard_00001.parquet is fetched from the Hub" in line for line in told) == 1
    assert sum("shard_00002.parquet is fetched from the Hub" in line for line in told) == 1


def test_a_mirror_serves_without_the_hub(hub: DatasetServer, fetch: Callable, tmp_path: Path) -> None:
    mirror_of(hub, tmp_path)
    folder, process = fetch(MINISERIES_MIRROR=(tmp_path / "mirror").as_uri(), HF_HUB_OFFLINE="1")
    assert_whole(folder, process, hub)
    assert "the mirror's copy is checked for its size only" in process.stdout
