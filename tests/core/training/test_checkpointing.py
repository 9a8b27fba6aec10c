"""Checkpoints written in the background: what they hold, what may go wrong, and what must not wait."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from artifacts.errors import LeaseLost, StoreUnavailable
from artifacts.progress import SavedCheckpoint
from core.model.checkpoint import ModelState
from core.stages.context import StageContext, StageError
from core.stages.identity import TrainingIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.training.checkpointing import CheckpointWriter
from core.training.pretrain import state_before
from core.training.snapshot import Position, Snapshot
from core.training.trace import Trace


@dataclass
class SlowCheckpoints:
    """A store whose uploads begin when `open` is set, and end in `error` if there is one."""

    open: threading.Event = field(default_factory=threading.Event)
    saved: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)
    error: Exception | None = None

    def save(self, step: int, directory: Path) -> None:
        assert self.open.wait(60)
        if self.error is not None:
            raise self.error
        self.saved[step] = load_file(directory / "model.safetensors")

    def newest(self) -> SavedCheckpoint | None:
        return None


@dataclass
class Setting:
    """A writer, the store behind it, and the log."""

    writer: CheckpointWriter
    store: SlowCheckpoints
    log: io.StringIO
    state: ModelState
    scratch: Path

    def snapshot(self, step: int, value: float) -> Snapshot:
        """A snapshot whose one weight is `value` throughout."""
        return Snapshot(
            step=step,
            state=self.state,
            weights={"weight": torch.full((3,), value)},
            optimizer={"weight.momentum": torch.zeros(3)},
            trace=Trace(),
            position=Position(rows_read=0, micro_batch_rows=1, world_size=1),
        )


@pytest.fixture
def setting(tmp_path: Path, segment: TrainingIdentity, runtime: Runtime) -> Iterator[Setting]:
    store, log = SlowCheckpoints(), io.StringIO()
    context: StageContext[Any] = StageContext(
        name="toy",
        key="0" * 64,
        identity=segment,
        inputs={},
        output=tmp_path,
        scratch=tmp_path,
        checkpoints=store,
        report=Reporter(log),
        runtime=runtime,
    )
    writer = CheckpointWriter(context)
    yield Setting(writer, store, log, state_before(segment, 3), tmp_path)
    store.open.set()
    writer.close()


def test_training_may_change_the_weights_while_they_are_being_written(setting: Setting) -> None:
    snapshot = setting.snapshot(3, 1.0)
    setting.writer.save(snapshot)
    assert setting.writer.busy
    snapshot.weights["weight"].fill_(2.0)
    setting.store.open.set()
    setting.writer.finish()
    assert not setting.writer.busy
    assert setting.store.saved[3]["weight"].tolist() == [1.0, 1.0, 1.0]
    assert not list(setting.scratch.glob("checkpoint-*"))


def test_a_second_checkpoint_waits_for_the_first(setting: Setting) -> None:
    setting.writer.save(setting.snapshot(3, 1.0))
    setting.store.open.set()
    setting.writer.save(setting.snapshot(4, 2.0))
    setting.writer.finish()
    assert sorted(setting.store.saved) == [3, 4]


def test_a_store_that_is_away_costs_a_warning(setting: Setting) -> None:
    setting.store.error = StoreUnavailable("the bucket gives no answer")
    setting.store.open.set()
    setting.writer.save(setting.snapshot(3, 1.0))
    setting.writer.finish()
    assert "a checkpoint could not be stored: the bucket gives no answer" in setting.log.getvalue()
    assert setting.writer.stored_step is None
    setting.store.error = None
    setting.writer.save(setting.snapshot(4, 2.0))
    setting.writer.finish()
    assert sorted(setting.store.saved) == [4]
    assert setting.writer.stored_step == 4


@pytest.mark.parametrize("error", [LeaseLost("another run has it"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_lost_lease_and_a_full_disk_end_the_run(setting: Setting, error: Exception) -> None:
    setting.store.error = error
    setting.store.open.set()
    setting.writer.save(setting.snapshot(3, 1.0))
    with pytest.raises(type(error)):
        setting.writer.finish()


def test_a_full_local_disk_ends_the_run_in_one_line_that_names_the_file(
    train: Callable[..., Any], segment: TrainingIdentity, runtime: Runtime, small_disk: Callable[[str], Path]
) -> None:
    root = small_disk("size=200k")
    with pytest.raises(StageError, match=r"scratch.*model\.safetensors: .* could not be written") as full:
        train(root / "run", "pretrain", segment, runtime=replace(runtime, checkpoint_seconds=0.0))
    assert "\n" not in str(full.value)
