"""A checkpoint exists whole or not at all, the newest that verifies is used, and a replaced holder writes none."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.errors import LeaseLost
from artifacts.lease import HeldLease
from artifacts.progress import Progress
from artifacts.store import Store

Hold = Callable[..., HeldLease]


@pytest.fixture
def state(tmp_path: Path) -> Callable[[str], Path]:
    """`state(text)`: a folder with a state to save."""

    def write(text: str) -> Path:
        folder = tmp_path / "state"
        (folder / "ranks").mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(text * 1000)
        (folder / "ranks" / "0").write_text(text)
        return folder

    return write


def newest(progress: Progress) -> tuple[int, str] | None:
    """Step and contents of the checkpoint that a resuming stage gets."""
    found = progress.newest()
    if found is None:
        return None
    text = (found.path / "ranks" / "0").read_text()
    assert (found.path / "weights").read_text() == text * 1000
    return found.step, text


def test_the_newest_checkpoint_comes_back_and_the_last_two_are_kept(
    store: Store, address: Address, hold: Hold, state: Callable[[str], Path], backend: Any
) -> None:
    progress = store.progress(address, hold(store, address).token)
    assert progress.newest() is None
    for step in (10, 20, 30):
        progress.save(step, state(f"step {step}"))
        assert newest(backend.open("elsewhere").progress(address, 1)) == (step, f"step {step}")
    folders = {name.split("/")[3] for name in backend.names() if "/progress/" in name}
    assert folders == {"00000020-1", "00000030-1"}
    assert store.survey()[address.folder].checkpoint_step == 30


def test_checkpoints_that_add_to_each_other_all_stay(
    store: Store, address: Address, hold: Hold, state: Callable[[str], Path], backend: Any
) -> None:
    progress = store.progress(address, hold(store, address).token)
    assert progress.every() == []
    for step in (10, 20, 30):
        progress.add(step, state(f"step {step}"))
    found = backend.open("elsewhere").progress(address, 1).every()
    assert [(saved.step, (saved.path / "ranks" / "0").read_text()) for saved in found] == [
        (step, f"step {step}") for step in (10, 20, 30)
    ]


def test_saving_the_same_step_again_replaces_it(
    store: Store, address: Address, hold: Hold, state: Callable[[str], Path]
) -> None:
    progress = store.progress(address, hold(store, address).token)
    progress.save(10, state("first"))
    progress.save(10, state("second"))
    assert newest(progress) == (10, "second")


@pytest.mark.parametrize("harm", ["undeclared", "flipped", "truncated", "missing", "half declared"])
def test_a_torn_or_damaged_checkpoint_is_skipped_with_a_warning(
    store: Store,
    address: Address,
    hold: Hold,
    state: Callable[[str], Path],
    backend: Any,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    lease = hold(store, address)
    progress = store.progress(address, lease.token)
    progress.save(10, state("good"))
    progress.save(20, state("bad!"))
    path = f"{address.folder}/progress/00000020-1"
    if harm == "undeclared":
        backend.remove(f"{path}/checkpoint.json")
    elif harm == "flipped":
        backend.overwrite(f"{path}/files/weights", b"B" + b"bad!" * 999 + b"bad")
    elif harm == "truncated":
        backend.overwrite(f"{path}/files/weights", b"bad!" * 999)
    elif harm == "missing":
        backend.remove(f"{path}/files/weights")
    else:
        backend.overwrite(f"{path}/checkpoint.json", b'{"step": 20, "files": [')
    with caplog.at_level(logging.WARNING, "miniseries.artifacts"):
        assert newest(backend.open("elsewhere").progress(address, lease.token)) == (10, "good")
    assert f"checkpoint 00000020-1 of {address} is skipped" in caplog.text
    progress.save(15, state("resumed"))
    assert newest(progress) == (15, "resumed")


def test_a_holder_that_was_replaced_writes_no_checkpoint(
    store: Store, address: Address, hold: Hold, state: Callable[[str], Path], backend: Any
) -> None:
    stale = hold(store, address, ttl=0.0)
    store.progress(address, stale.token).save(10, state("ours"))
    successor = hold(store, address)
    with pytest.raises(LeaseLost, match="belongs to token 2"):
        store.progress(address, stale.token).save(20, state("stale"))
    assert newest(store.progress(address, successor.token)) == (10, "ours")
    store.progress(address, successor.token).save(12, state("next"))
    assert newest(store.progress(address, successor.token)) == (12, "next")


@pytest.mark.parametrize("successors", [(12,), (5, 7)], ids=["ahead", "behind"])
def test_a_holder_replaced_right_after_a_checkpoint_leaves_its_successors_alone(
    store: Store,
    address: Address,
    hold: Hold,
    state: Callable[[str], Path],
    backend: Any,
    monkeypatch: pytest.MonkeyPatch,
    successors: tuple[int, ...],
) -> None:
    stale = store.progress(address, hold(store, address, ttl=0.0).token)
    create, pending = stale._storage.create, [successors]

    def replaced(path: str, content: bytes) -> str | None:
        """Once the checkpoint is declared, somebody else has the stage."""
        version = create(path, content)
        elsewhere = backend.open("elsewhere")
        progress = elsewhere.progress(address, hold(elsewhere, address).token)
        for step in pending.pop():
            progress.save(step, state(f"successor {step}"))
        return version

    monkeypatch.setattr(stale._storage, "create", replaced)
    stale.save(10, state("stale"))
    declared = {name.split("/")[3] for name in backend.names() if name.endswith("/checkpoint.json")}
    assert {f"{step:08d}-2" for step in successors} <= declared


def test_a_process_killed_while_saving_leaves_the_last_checkpoint_it_had_finished(
    store: Store, address: Address, program: Callable[..., subprocess.Popen[str]], hold: Hold, tmp_path: Path
) -> None:
    address = Address("pack", "docs", address.key)
    lease = hold(store, address)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(8):
        (source / f"part-{number}").write_bytes(bytes([number]) * 100_000)
    for kill_after in (1, 3) if store.url.startswith("file:") else (2,):
        writer = program("save_for_ever", address.key, str(lease.token), str(source))
        assert writer.stdout is not None
        finished = [int(writer.stdout.readline()) for _ in range(kill_after)][-1]
        writer.kill()
        finished = max([finished, *(int(line) for line in writer.communicate()[0].split())])
        found = store.progress(address, lease.token).newest()
        assert found is not None
        assert found.step >= finished
        assert (found.path / "step").read_text() == str(found.step)
        assert all((found.path / f"part-{n}").read_bytes() == bytes([n]) * 100_000 for n in range(8))
