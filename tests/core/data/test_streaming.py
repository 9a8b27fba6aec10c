"""A stream read from a bucket through a small cache: the rows of a stream on disk, and of trouble a name."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from committing import commit_files
from hypothesis import given
from hypothesis import strategies as st
from s3_proxy import Proxy, running_proxy
from s3_server import Server, running_moto

from artifacts.copies import Room
from artifacts.errors import ArtifactDamaged
from artifacts.store import Store
from core.data.rows import RowsWriter
from core.data.streaming import StreamedRows
from core.planning.stage import Stage
from core.stages.context import StageError, StageUnavailable
from core.stages.identity import PackIdentity
from core.stages.kind import StageKind
from core.stages.streamed import StreamedArtifact, StreamedInput

WIDTH = 50  # T + 1
COUNT = 100  # rows of a group in the bucket: 10,000 bytes
BOUND_GB = "25e-6"  # two groups and their descriptions, not three


def pack(number: int) -> Stage:
    identity = PackIdentity(
        row_tokens=WIDTH,
        algorithm="best-fit-crop",
        buffer_documents=1,
        direction="forward",
        direction_seed=0,
        first_shard=number,
        end_shard=number + 1,
    )
    return Stage(StageKind.PACK, f"docs-{number}", identity)


def numbered(first: int, count: int) -> np.ndarray:
    """Rows whose every token is the row's number in the stream."""
    return np.repeat(np.arange(first, first + count)[:, None], WIDTH, axis=1)


def commit_group(store: Store, number: int, rows: np.ndarray, scratch: Path) -> StreamedInput:
    scratch.mkdir(parents=True, exist_ok=True)
    with RowsWriter(scratch, "rows", WIDTH, 60_000) as writer:
        writer.append(rows)
    stage = pack(number)
    commit_files(store, stage, {name: (scratch / name).read_bytes() for name in ("rows.bin", "rows.json")})
    return StreamedInput(artifact=StreamedArtifact(address=stage.address, rows=len(rows)), store=store)


@dataclass
class Bucket:
    """Five groups in a bucket, and a cache of another machine that has none of them."""

    proxy: Proxy
    groups: list[StreamedInput]
    cache: Path
    told: list[str] = field(default_factory=list)
    heard: threading.Condition = field(default_factory=threading.Condition)

    def say(self, line: str) -> None:
        with self.heard:
            self.told.append(line)
            self.heard.notify_all()

    def wait_for(self, words: str) -> None:
        with self.heard:
            assert self.heard.wait_for(lambda: any(words in line for line in self.told), timeout=300), self.told

    def wait_for_arrivals(self, count: int) -> None:
        with self.heard:
            arrived = self.heard.wait_for(lambda: sum("is at hand" in line for line in self.told) >= count, timeout=300)
            assert arrived, self.told

    def stream(self, *, epochs: int = 1, patience_seconds: float = 60.0) -> StreamedRows:
        end = epochs * len(self.groups) * COUNT
        return StreamedRows(self.groups, WIDTH, end=end, say=self.say, patience_seconds=patience_seconds)

    def bytes(self) -> int:
        places = (self.cache / "artifacts", self.cache / "arriving")
        return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())

    def copy_of(self, number: int, name: str) -> Path:
        (path,) = self.cache.glob(f"artifacts/pack/docs-{number}-*/*/{name}")
        return path

    def downloads_of(self, number: int) -> int:
        return sum(f"/docs-{number}-" in path and path.endswith("rows.bin") for path in self.proxy.downloads)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_moto(tmp_path_factory.mktemp("moto") / "log") as server:
        yield server


@pytest.fixture
def bucket(moto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with running_proxy(moto.endpoint) as proxy:
        for name, value in {**moto.environment(), "AWS_ENDPOINT_URL": proxy.endpoint}.items():
            monkeypatch.setenv(name, value)
        url = f"s3://miniseries/{uuid.uuid4().hex}"
        packer = Store.open(url, tmp_path / "packer")
        for number in range(5):
            commit_group(packer, number, numbered(number * COUNT, COUNT), tmp_path / "scratch")
        monkeypatch.setenv("MINISERIES_CACHE_GB", BOUND_GB)
        reader = Store.open(url, tmp_path / "reader")
        proxy.downloads.clear()
        artifacts = [StreamedArtifact(address=pack(number).address, rows=COUNT) for number in range(5)]
        (tmp_path / "reader").mkdir()
        groups = [StreamedInput(artifact=artifact, store=reader) for artifact in artifacts]
        yield Bucket(proxy, groups, reader.fetch(pack(0).address).parents[3])


def first_numbers(stream: StreamedRows, start: int, count: int) -> list[int]:
    rows = stream.read(start, count)
    assert (rows == rows[:, :1]).all()
    assert rows.shape == (count, WIDTH)
    return [int(number) for number in rows[:, 0]]


def test_a_stream_larger_than_the_cache_is_read_again_and_again_and_never_passes_its_bound(bucket: Bucket) -> None:
    peaks = []
    bucket.proxy.on_download = lambda size: peaks.append(bucket.bytes() + size)
    read: list[int] = []
    with bucket.stream(epochs=3) as stream:
        for start in range(0, 3 * 5 * COUNT, 30):
            read += first_numbers(stream, start, 30)
    assert read == list(range(5 * COUNT)) * 3
    assert 20_000 < max(peaks) <= float(BOUND_GB) * 1e9


def test_the_next_group_is_at_hand_before_it_is_needed_and_none_after_the_end(bucket: Bucket) -> None:
    with bucket.stream() as stream:
        first_numbers(stream, 0, 1)
        bucket.wait_for(f"{pack(1).address} is at hand")
        bucket.proxy.away = True
        assert first_numbers(stream, COUNT - 1, 3) == [COUNT - 1, COUNT, COUNT + 1]
        bucket.wait_for(f"{pack(2).address} cannot be had now, trying again")
        assert first_numbers(stream, COUNT + 50, 50) == list(range(COUNT + 50, 2 * COUNT))
        bucket.proxy.away = False
        assert first_numbers(stream, 5 * COUNT - 1, 1) == [5 * COUNT - 1]
    assert bucket.downloads_of(0) == 1, "nobody reads a second epoch"


def test_rows_that_do_not_come_in_time_are_an_interruption_that_names_them(bucket: Bucket) -> None:
    with bucket.stream(patience_seconds=0.5) as stream:
        bucket.proxy.away = True
        with pytest.raises(StageUnavailable, match=f"{pack(3).address} was waited for in vain"):
            stream.read(3 * COUNT, 1)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_a_copy_that_was_damaged_is_fetched_again(bucket: Bucket, harm: Callable[[Path], object]) -> None:
    harm(bucket.copy_of(0, "rows.bin"))
    with bucket.stream() as stream:
        assert first_numbers(stream, 10, 2) == [10, 11]
    assert bucket.downloads_of(0) == 2


def test_a_group_that_is_missing_in_the_store_is_named_when_its_rows_are_needed_and_marked(bucket: Bucket) -> None:
    store, address = bucket.groups[1].store, pack(1).address
    manifest = store.manifest(address)
    assert manifest is not None
    store._storage.delete([f"{address.folder}/files/{manifest.attempt}/rows.bin"])
    with bucket.stream() as stream:
        assert first_numbers(stream, 0, COUNT) == list(range(COUNT))
        with pytest.raises(ArtifactDamaged) as raised:
            stream.read(COUNT, 1)
    for words in (address.folder, "rows.bin: the file is missing", "`miniseries run` makes it again"):
        assert words in str(raised.value)
    assert not store.is_whole(address)


def test_a_group_with_other_rows_than_was_said_is_refused(bucket: Bucket) -> None:
    group = bucket.groups[0]
    artifact = StreamedArtifact(address=group.artifact.address, rows=COUNT - 1)
    bucket.groups[0] = StreamedInput(artifact=artifact, store=group.store)
    with bucket.stream() as stream, pytest.raises(StageError, match=r"has 100 rows of 50 tokens, expected 99 of 50"):
        stream.read(0, 1)


def test_rows_needed_now_come_even_if_what_is_held_fills_the_cache_and_those_needed_later_wait(bucket: Bucket) -> None:
    store = bucket.groups[0].store
    with (
        store.hold(pack(3).address),
        store.hold(pack(4).address),
        bucket.stream(patience_seconds=20.0) as stream,
    ):
        assert first_numbers(stream, 0, 1) == [0]
        bucket.wait_for(f"{pack(1).address} cannot be had now, trying again: cache")
        assert first_numbers(stream, COUNT, 1) == [COUNT]


def test_a_closed_stream_holds_nothing(bucket: Bucket) -> None:
    store = bucket.groups[0].store
    with bucket.stream() as stream:
        first_numbers(stream, 0, 1)
        bucket.wait_for(f"{pack(1).address} is at hand")
    within = Room(may_exceed=False)
    with store.hold(pack(3).address, within), store.hold(pack(4).address, within):
        assert bucket.bytes() <= float(BOUND_GB) * 1e9


def test_of_what_was_read_the_group_needed_latest_goes_first(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three of four groups a round takes two downloads; least recently used first, it would take four."""
    monkeypatch.setenv("MINISERIES_CACHE_GB", "35e-6")
    store = Store.open(bucket.groups[0].store.url, bucket.cache.parent)
    bucket.groups[:] = [StreamedInput(artifact=group.artifact, store=store) for group in bucket.groups[:4]]
    with bucket.stream(epochs=6) as stream:
        for visit in range(6 * 4):
            first_numbers(stream, visit * COUNT, COUNT)
            bucket.wait_for_arrivals(min(visit + 2, 6 * 4))
    assert sum(map(bucket.downloads_of, range(4))) <= 16


@pytest.fixture(scope="module")
def small_groups(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], StreamedInput]:
    """`small_groups(index, size)`: a group of `size` rows in a folder's store; row r of it has number 10 index + r."""
    root = tmp_path_factory.mktemp("small")
    store = Store.open(str(root / "store"), root / "cache")
    made = {
        (index, size): commit_group(store, 10 * index + size, numbered(10 * index, size), root / "scratch")
        for index in range(4)
        for size in range(5)
    }
    return lambda index, size: made[index, size]


@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any),
    reads=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=6),
    end=st.integers(1, 40),
)
def test_reading_anywhere_in_any_order_gives_the_rows_of_the_groups_one_after_another(
    small_groups: Callable[[int, int], StreamedInput], sizes: list[int], reads: list[tuple[int, int]], end: int
) -> None:
    groups = [small_groups(index, size) for index, size in enumerate(sizes)]
    epoch = [10 * index + row for index, size in enumerate(sizes) for row in range(size)]
    with StreamedRows(groups, WIDTH, end=end, say=lambda line: None, patience_seconds=60.0) as stream:
        assert stream.rows_per_epoch == sum(sizes)
        for start, count in reads:
            expected = [epoch[number % len(epoch)] for number in range(start, start + count)]
            assert first_numbers(stream, start, count) == expected
