"""Local copies stay below their limit, whoever asks for them; what is in use stays, what is needed last goes first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.copies import Hold, LocalCopies, Room
from artifacts.errors import CacheFull, StoreError
from artifacts.location import cache_limit

WITHIN = Room(may_exceed=False)
LIMIT = 100


def name(number: int) -> str:
    return f"pack/docs-{number}/attempt"


def bring(copies: LocalCopies, number: int, size: int, room: Room = WITHIN) -> Hold:
    """Hold a copy of `size` bytes, as a fetch does; each is used later than the one before."""
    hold = copies.hold(name(number))
    try:
        copies.make_room(name(number), size, room)
    except CacheFull:
        hold.release()
        raise
    copies.path(name(number)).mkdir(parents=True, exist_ok=True)
    (copies.path(name(number)) / "rows").write_bytes(b"x" * size)
    return hold


def there(cache: Path) -> dict[int, int]:
    """Bytes on disk by number."""
    return {int(path.parts[-3].split("-")[1]): path.stat().st_size for path in cache.glob("artifacts/*/*/*/rows")}


def use_in_order(cache: Path, *numbers: int) -> None:
    """Make the copies look used one after another, long ago."""
    for turn, number in enumerate(numbers):
        os.utime(cache / "copies" / name(number), (turn, turn))


@given(
    steps=st.lists(st.tuples(st.sampled_from(["bring", "release"]), st.integers(0, 7), st.integers(0, 60)), max_size=30)
)
def test_in_any_order_of_use_the_limit_holds_and_what_is_in_use_stays(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    held: dict[int, Hold] = {}
    sizes: dict[int, int] = {}
    for action, number, size in steps:
        copies = LocalCopies(cache, LIMIT)  # as another process would
        before = there(cache)
        if action == "release" or number in held:
            held.pop(number, Hold()).release()
            continue
        try:
            held[number] = bring(copies, number, size)
            sizes[number] = size
        except CacheFull:
            assert sum(sizes[other] for other in held) + size > LIMIT
            assert there(cache) == before
        assert sum(there(cache).values()) <= LIMIT
        assert {other: sizes[other] for other in held}.items() <= there(cache).items()
    for hold in held.values():
        hold.release()


def test_the_least_recently_used_goes_first_and_no_more_than_is_needed(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, LIMIT)
    for number in range(3):
        bring(copies, number, 30).release()
    use_in_order(tmp_path, 2, 0, 1)
    bring(copies, 3, 40).release()
    assert there(tmp_path) == {0: 30, 1: 30, 3: 40}


def test_what_should_go_last_goes_after_everything_else_and_in_its_order(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, LIMIT)
    for number in range(4):
        bring(copies, number, 25).release()
    use_in_order(tmp_path, 0, 1, 2, 3)
    last = Room(may_exceed=False, evict_last=("pack/docs-1", "pack/docs-0"))
    bring(copies, 4, 75, last).release()
    assert there(tmp_path) == {0: 25, 4: 75}


def test_what_a_stage_cannot_do_without_may_exceed_the_limit_once_nothing_else_is_left_to_evict(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, LIMIT)
    bring(copies, 0, 20).release()
    with bring(copies, 1, 60), bring(copies, 2, 60, Room()):
        assert there(tmp_path) == {1: 60, 2: 60}
        with pytest.raises(CacheFull, match=r"no room for pack/docs-3 of .* are in use; raise MINISERIES_CACHE_GB"):
            bring(copies, 3, 1)


def test_a_copy_that_is_removed_counts_no_more(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, LIMIT)
    bring(copies, 0, 100).release()
    copies.remove(name(0))
    with bring(copies, 1, 50), bring(copies, 2, 50):
        assert there(tmp_path) == {1: 50, 2: 50}


def test_being_used_again_makes_a_copy_recent(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, LIMIT)
    for number in range(2):
        bring(copies, number, 50).release()
    use_in_order(tmp_path, 0, 1)
    bring(copies, 0, 50).release()
    assert (tmp_path / "copies" / name(0)).stat().st_mtime > time.time() - 3600
    bring(copies, 2, 50).release()
    assert there(tmp_path) == {0: 50, 2: 50}


@pytest.mark.parametrize(("text", "limit"), [("", 20_000_000_000), ("1.5", 1_500_000_000), ("1e-6", 1000)])
def test_the_limit_comes_from_the_environment(text: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_CACHE_GB", text)
    assert cache_limit() == limit


@pytest.mark.parametrize("text", ["much", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_no_size_is_refused_by_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_CACHE_GB", text)
    with pytest.raises(StoreError, match=f"MINISERIES_CACHE_GB='{text}' is no size; set gigabytes above 0"):
        cache_limit()
