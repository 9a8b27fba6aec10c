"""An artifact exists once its manifest does, and that happens once: whoever races, dies or comes late."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.errors import AlreadyCommitted, ArtifactMissing, LeaseLost
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.storage import Versioned
from artifacts.store import Found, Store

Hold = Callable[..., HeldLease]
Make = Callable[..., Manifest]
NOTHING: dict[str, Any] = {"stage_version": 1, "identity": {}, "inputs": {}, "metrics": {}, "provenance": {}}


def test_a_committed_artifact_is_found_with_all_that_was_said_about_it(
    store: Store, address: Address, hold: Hold, backend: Any
) -> None:
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        (attempt.output / "sub").mkdir()
        (attempt.output / "sub" / "b.txt").write_bytes(b"b")
        (attempt.output / "a.txt").write_bytes(b"")
        (attempt.scratch / "junk").write_bytes(b"junk")
        attempt.commit(
            stage_version=3,
            identity={"rows": 4},
            inputs={"corpus": "ab" * 32},
            metrics={"rows": 4, "share": 0.5},
            provenance={"host": "here"},
        )
    lease.release()
    manifest = backend.open("elsewhere").manifest(address)
    assert manifest is not None
    assert [(file.path, file.bytes) for file in manifest.files] == [("a.txt", 0), ("sub/b.txt", 1)]
    assert (manifest.key, manifest.stage_version, manifest.token) == (address.key, 3, 1)
    assert (manifest.identity, manifest.inputs) == ({"rows": 4}, {"corpus": "ab" * 32})
    assert (manifest.metrics, manifest.provenance) == ({"rows": 4, "share": 0.5}, {"host": "here"})
    assert re.fullmatch(r"0001-[0-9a-f]{8}", manifest.attempt)
    folder = backend.open("elsewhere").fetch(address)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "a.txt",
        "sub/b.txt",
    }
    assert (folder / "sub" / "b.txt").read_bytes() == b"b"
    assert store.addresses() == [address]
    assert manifest.attempt in store.path_of(address)
    assert not list(backend.cache.rglob("junk"))


def test_the_logs_of_all_attempts_are_kept_and_are_no_files_of_the_artifact(
    store: Store, address: Address, hold: Hold, backend: Any, tmp_path: Path
) -> None:
    output, attempts = tmp_path / "output.log", []
    for word in ("failed", "made"):
        output.write_text(f"{word} with password=hidden-from-all\n")
        lease = hold(store, address)
        with store.attempt(address, lease) as attempt:
            attempt.keep_log(output)
            if word == "made":
                attempt.commit(**NOTHING)
        attempts.append(lease.attempt)
        lease.release()
    paths = [f"{address.folder}/logs/{name}.log" for name in attempts]
    kept = [backend.storage().read(path).content.decode() for path in paths]
    assert kept == ["failed with password=***\n", "made with password=***\n"]
    manifest = backend.open("elsewhere").manifest(address)
    assert manifest is not None
    assert manifest.files == ()
    assert backend.open("elsewhere").verify(address) == []


def test_a_log_that_is_not_there_is_a_warning(
    store: Store, address: Address, hold: Hold, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        attempt.keep_log(tmp_path / "never written")
    assert "was not stored" in caplog.text


def test_what_was_not_made_is_missing(store: Store, address: Address) -> None:
    assert store.manifest(address) is None
    assert not store.is_whole(address)
    assert store.survey() == {}
    with pytest.raises(ArtifactMissing, match="miniseries run"):
        store.fetch(address)


def test_leaving_without_a_commit_leaves_nothing_behind(
    store: Store, address: Address, hold: Hold, backend: Any
) -> None:
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        (attempt.output / "half").write_bytes(b"half")
    assert backend.names() == [f"{address.folder}/lease.json"]
    assert not list(backend.cache.rglob("half"))
    assert store.manifest(address) is None


def test_a_holder_that_was_replaced_cannot_commit_and_its_files_go(
    store: Store, address: Address, hold: Hold, make: Make, backend: Any
) -> None:
    stale = hold(store, address, ttl=0.0)
    with store.attempt(address, stale) as attempt:
        (attempt.output / "rows").write_bytes(b"stale")
        successor = hold(backend.open("elsewhere"), address)
        assert successor.token == stale.token + 1
        with pytest.raises(LeaseLost, match="taken over"):
            attempt.commit(**NOTHING)
    assert stale.lost.is_set()
    assert backend.names() == [f"{address.folder}/lease.json"]
    successor.release()
    assert make(store, address, {"rows": b"fresh"}).token == 3


def test_a_late_commit_finds_the_artifact_committed_and_leaves_it_alone(
    store: Store, address: Address, hold: Hold, make: Make, backend: Any
) -> None:
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        (attempt.output / "rows").write_bytes(b"late")
        twin = Address(address.kind, "twin", address.key)
        made = make(store, twin, {"rows": b"first"})
        for file in made.files:
            backend.overwrite(f"{address.folder}/files/{made.attempt}/{file.path}", b"first")
        backend.overwrite(f"{address.folder}/manifest.json", made.model_copy(update={"name": address.name}).encode())
        with pytest.raises(AlreadyCommitted):
            attempt.commit(**NOTHING)
    assert (store.fetch(address) / "rows").read_bytes() == b"first"
    assert not [name for name in backend.names() if lease.attempt in name]


def test_a_holder_replaced_while_it_looks_for_damage_leaves_its_successors_artifact_alone(
    store: Store, address: Address, hold: Hold, make: Make, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale, read, pending = hold(store, address, ttl=0.0), store._storage.read, [f"{address.folder}/manifest.json"]

    def interrupted(path: str) -> Versioned | None:
        """The manifest is not there yet when it is looked for; it is before the answer arrives."""
        found = read(path)
        if path in pending:
            pending.remove(path)
            make(backend.open("elsewhere"), address, {"rows": b"successor's"})
        return found

    monkeypatch.setattr(store._storage, "read", interrupted)
    store.discard(address, stale)
    assert not pending
    assert (store.fetch(address) / "rows").read_bytes() == b"successor's"


def test_a_holder_that_was_replaced_leaves_its_successors_work_alone(
    store: Store, address: Address, hold: Hold
) -> None:
    stale = hold(store, address, ttl=0.0)
    successor = hold(store, address)
    with store.attempt(address, successor) as attempt:
        (attempt.output / "rows").write_bytes(b"rows")
        (attempt.scratch / "half").write_bytes(b"half")
        with store.attempt(address, stale):
            pass
        assert (attempt.scratch / "half").read_bytes() == b"half"
        attempt.commit(**NOTHING)
    assert (store.fetch(address) / "rows").read_bytes() == b"rows"


def test_a_commit_removes_checkpoints_and_what_dead_attempts_left(
    store: Store, address: Address, hold: Hold, backend: Any, tmp_path: Path
) -> None:
    backend.overwrite(f"{address.folder}/files/0001-deadbeef/half", b"half")
    lease = hold(store, address)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "weights").write_bytes(b"w")
    store.progress(address, lease.token).save(7, tmp_path / "state")
    assert store.survey() == {address.folder: Found(checkpoint_step=7, leased=True)}
    with store.attempt(address, lease) as attempt:
        (attempt.output / "rows").write_bytes(b"rows")
        attempt.commit(**NOTHING)
    assert store.survey() == {address.folder: Found(committed=True, leased=True, bytes=4, files={"rows": 4})}
    assert [name.removeprefix(address.folder) for name in backend.names()] == [
        f"/extent/{lease.attempt}-1-4",
        f"/files/{lease.attempt}/rows",
        "/lease.json",
        "/manifest.json",
    ]


def test_of_many_processes_one_makes_the_artifact_and_the_others_reuse_it(
    store: Store, program: Callable[..., subprocess.Popen[str]], address: Address
) -> None:
    processes = [program("make_or_wait", address.key) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    results = sorted(process.communicate("go\n", timeout=540)[0] for process in processes)
    assert results == ["made\n", "reused\n", "reused\n"]
    assert store.is_whole(Address("pack", "docs", address.key))


def test_a_store_that_is_writable_says_nothing_however_often_it_is_asked(store: Store, backend: Any) -> None:
    store.check_writable()
    backend.open("elsewhere").check_writable()
    assert backend.names() == ["store.json"]
