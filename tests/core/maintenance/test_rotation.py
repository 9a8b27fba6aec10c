"""A store is read a share at a time, each share going on where the last one ended; damage is marked and told."""

from __future__ import annotations

from pathlib import Path

import pytest
from committing import commit

from artifacts.store import Store
from core.maintenance.rotation import PATH, verify_share
from core.planning.catalogue import stages_of

BUDGET = 20.0  # bytes; each artifact has 7


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    for stage in list(stages_of("tiny").values())[:8]:
        commit(store, stage)
    return store


def test_every_artifact_is_read_within_the_nights_that_are_told_by_whoever_reads(store: Store, tmp_path: Path) -> None:
    read: list[str] = []
    nights = verify_share(store, BUDGET, read.append).nights
    assert nights == 3
    assert read == sorted(store.survey())[:3], "the share ends with the artifact that reaches its budget"
    for night in range(nights - 1):
        verify_share(Store.open(store.url, tmp_path / str(night)), BUDGET, read.append)
    assert set(read) == set(store.survey())
    assert len(read) == 9, "the last share begins the next round"


def test_one_flipped_byte_is_told_by_the_share_that_comes_to_it_and_marked(store: Store, tmp_path: Path) -> None:
    folder = sorted(store.survey())[4]
    (path,) = (tmp_path / "store" / folder / "files").glob("*/file")
    path.write_bytes(b"contEnt")
    assert verify_share(store, BUDGET, lambda _: None).damaged == ()
    (damaged,) = verify_share(store, BUDGET, lambda _: None).damaged
    assert damaged.folder == folder
    assert damaged.damages[0].startswith("file: expected sha256")
    assert store.survey()[folder].damaged


def test_who_is_stopped_goes_on_there_and_an_empty_store_has_nothing_to_read(store: Store, tmp_path: Path) -> None:
    read: list[str] = []

    def stop_at_the_second(folder: str) -> None:
        if len(read) == 1:
            raise KeyboardInterrupt
        read.append(folder)

    with pytest.raises(KeyboardInterrupt):
        verify_share(store, BUDGET, stop_at_the_second)
    assert verify_share(store, BUDGET, lambda _: None).first == sorted(store.survey())[1]
    assert PATH in store.contents().others

    empty = verify_share(Store.open(str(tmp_path / "empty"), tmp_path / "cache"), BUDGET, read.append)
    assert (empty.verified, empty.damaged, empty.nights) == (0, (), 1)
