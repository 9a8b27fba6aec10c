"""The promises of `artifacts.storage.Storage`, on every kind of store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artifacts.storage import Storage

ROUNDS, WRITERS = 5, 8


def race(write: Callable[[int], str | None]) -> list[int]:
    """Let `WRITERS` threads write at the same moment; return those that were told that they won."""
    barrier = threading.Barrier(WRITERS)

    def run(number: int) -> str | None:
        barrier.wait()
        return write(number)

    with ThreadPoolExecutor(WRITERS) as pool:
        versions = list(pool.map(run, range(WRITERS)))
    return [number for number, version in enumerate(versions) if version is not None]


def test_what_was_created_can_be_read_and_cannot_be_created_again(storage: Storage) -> None:
    version = storage.create("a/b.json", b"first")
    assert storage.create("a/b.json", b"second") is None
    found = storage.read("a/b.json")
    assert found is not None
    assert (found.content, found.version) == (b"first", version)


def test_what_does_not_exist_reads_as_none(storage: Storage) -> None:
    assert storage.read("nothing/here.json") is None


def test_a_replacement_needs_the_version_that_is_there(storage: Storage) -> None:
    first = storage.create("lease.json", b"one")
    assert first is not None
    second = storage.replace("lease.json", b"two", first)
    assert second is not None
    assert storage.replace("lease.json", b"late", first) is None
    assert storage.replace("lease.json", b"three", second) is not None
    found = storage.read("lease.json")
    assert found is not None
    assert found.content == b"three"


def test_a_replacement_of_nothing_is_refused(storage: Storage) -> None:
    assert storage.replace("absent.json", b"content", "0" * 32) is None
    assert storage.read("absent.json") is None


def test_one_of_many_racing_creators_wins_and_its_bytes_stay(storage: Storage) -> None:
    for number in range(ROUNDS):
        path = f"race/{number}.json"
        winners = race(lambda writer, path=path: storage.create(path, f"writer {writer}".encode()))
        found = storage.read(path)
        assert found is not None
        assert [found.content] == [f"writer {winner}".encode() for winner in winners]


def test_one_of_many_racing_replacers_wins_and_its_bytes_stay(storage: Storage) -> None:
    version = storage.create("race.json", b"start")
    for number in range(ROUNDS):
        assert version is not None
        winners = race(
            lambda writer, number=number, version=version: storage.replace(
                "race.json", f"round {number} writer {writer}".encode(), version
            )
        )
        found = storage.read("race.json")
        assert found is not None
        assert [found.content] == [f"round {number} writer {winner}".encode() for winner in winners]
        version = found.version


def test_a_listing_shows_every_object_below_a_folder_sorted_with_its_size(storage: Storage) -> None:
    for path in ("b/2", "b/1/x", "b-not-below", "a/.hidden"):
        storage.create(path, path.encode())
    assert [(entry.path, entry.bytes) for entry in storage.listing("b")] == [("b/1/x", 5), ("b/2", 3)]
    assert [entry.path for entry in storage.listing("")] == ["a/.hidden", "b-not-below", "b/1/x", "b/2"]
    assert storage.listing("c") == []


def test_deleting_removes_what_is_there_and_forgives_what_is_not(storage: Storage) -> None:
    storage.create("a/b/c", b"1")
    storage.create("a/d", b"2")
    storage.delete(["a/b/c", "a/never"])
    assert [entry.path for entry in storage.listing("")] == ["a/d"]
    storage.delete([])


def test_files_go_up_and_come_down_unchanged(storage: Storage, tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("small", b"abc"), ("parts", bytes(range(256)) * 160_000)):
        (tmp_path / name).write_bytes(content)
        storage.upload(tmp_path / name, f"files/{name}")
        assert storage.download(f"files/{name}", tmp_path / "back", len(content))
        assert (tmp_path / "back").read_bytes() == content
    assert not storage.download("files/absent", tmp_path / "absent", 1)
