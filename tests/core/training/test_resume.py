"""Interrupted anywhere, continued later: the same bits as a run that nothing disturbed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.stages.context import Interrupted
from core.stages.identity import FinetuneIdentity, TrainingIdentity
from core.stages.report import Measured, parse
from core.stages.runtime import Runtime

EXACT = ("model.safetensors", "optimizer.safetensors", "state.json", "loss.jsonl", "loss.svg")
Train = Callable[..., Any]
Launch = Callable[..., Any]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_run_interrupted_twice_ends_with_the_files_of_an_undisturbed_one(
    base: Any, train: Train, segment: TrainingIdentity, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted, match=f"{number.name} at step 3: saved"):
        train("run", "pretrain", segment, signal_at=3, signal_number=number)
    with pytest.raises(Interrupted, match=f"{number.name} at step 13: saved"):
        train("run", "pretrain", segment, signal_at=13, signal_number=number)
    resumed = train("run", "pretrain", segment)
    assert "continuing at step 13 of 20" in resumed.log
    for name in EXACT:
        assert resumed.bytes(name) == base.bytes(name), name
    assert resumed.metrics["validation_bpb"] == base.metrics["validation_bpb"]
    assert resumed.metrics["final_loss"] == base.metrics["final_loss"]
    assert losses_told(resumed.log) == losses_told(base.log)  # who watches sees the steps of earlier processes too


def losses_told(log: str) -> list[tuple[int, float]]:
    told = [parse(line) for line in log.splitlines()]
    return [(one.step, one.values["loss"]) for one in told if isinstance(one, Measured) and "loss" in one.values]


def test_a_signal_in_the_last_step_leaves_only_the_measuring_to_the_next_attempt(
    base: Any, train: Train, segment: TrainingIdentity
) -> None:
    with pytest.raises(Interrupted, match="at step 20"):
        train("run", "pretrain", segment, signal_at=20)
    resumed = train("run", "pretrain", segment)
    for name in EXACT:
        assert resumed.bytes(name) == base.bytes(name), name


def test_a_signal_while_a_run_is_being_restored_ends_it_before_a_step_and_saves_nothing_again(
    base: Any, train: Train, segment: TrainingIdentity
) -> None:
    for at in (3, 0):
        with pytest.raises(Interrupted, match="SIGTERM at step 3: saved"):
            train("run", "pretrain", segment, signal_at=at)
    resumed = train("run", "pretrain", segment)
    for name in EXACT:
        assert resumed.bytes(name) == base.bytes(name), name


def test_a_checkpoint_that_could_not_be_stored_is_not_called_saved(train: Train, segment: TrainingIdentity) -> None:
    with pytest.raises(Interrupted, match="SIGTERM at step 3: could not be saved, an older checkpoint serves"):
        train("run", "pretrain", segment, signal_at=3, store_away=True)


def test_checkpoints_are_written_by_the_clock_and_each_one_continues_exactly(
    base: Any, train: Train, segment: TrainingIdentity, runtime: Runtime, tmp_path: Path
) -> None:
    always_due = replace(runtime, checkpoint_seconds=0.0)
    undisturbed = train("run", "pretrain", segment, runtime=always_due)
    for name in EXACT:
        assert undisturbed.bytes(name) == base.bytes(name), name
    first, *later = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert int(first.name) == 1  # the next one is taken once this one is written
    for checkpoint in later:  # as if the process had been killed right after the first
        checkpoint.rename(tmp_path / f"dropped-{checkpoint.name}")
    resumed = train("run", "pretrain", segment)
    assert "continuing at step 1 of 20" in resumed.log
    for name in EXACT:
        assert resumed.bytes(name) == base.bytes(name), name


def test_the_state_after_the_last_step_is_kept_until_the_artifact_is_committed(
    base: Any, train: Train, segment: TrainingIdentity, runtime: Runtime, tmp_path: Path
) -> None:
    hourly = replace(runtime, checkpoint_seconds=3600.0)
    train("short", "pretrain", segment, runtime=hourly)
    assert not (tmp_path / "short" / "checkpoints").exists()  # seconds of work are not worth one
    train("run", "pretrain", segment, runtime=replace(runtime, checkpoint_seconds=0.0))
    *_, last = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert int(last.name) == 20
    resumed = train("run", "pretrain", segment)  # as if the machine had been lost before the commit
    assert "continuing at step 20 of 20" in resumed.log
    for name in EXACT:
        assert resumed.bytes(name) == base.bytes(name), name


def test_signal_handlers_are_given_back(base: Any, train: Train, segment: TrainingIdentity) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    train("run", "pretrain", replace(segment, end_step=1))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_a_fine_tune_interrupted_and_continued_equals_an_undisturbed_one(
    base: Any, train: Train, tuning: FinetuneIdentity
) -> None:
    undisturbed = train("undisturbed", "finetune", tuning, parent=base.folder)
    with pytest.raises(Interrupted):
        train("run", "finetune", tuning, parent=base.folder, signal_at=4)
    resumed = train("run", "finetune", tuning, parent=base.folder)
    for name in EXACT:
        assert resumed.bytes(name) == undisturbed.bytes(name), name


def test_a_drop_interrupted_and_continued_still_reports_what_was_measured_at_the_drop(
    base: Any, train: Train, segment: TrainingIdentity
) -> None:
    trunk = train("trunk", "pretrain", replace(segment, end_step=10))
    rest = replace(segment, first_step=10, use_rope=False)
    undisturbed = train("undisturbed", "recalibrate", rest, parent=trunk.folder)
    with pytest.raises(Interrupted):
        train("run", "recalibrate", rest, parent=trunk.folder, signal_at=3)
    resumed = train("run", "recalibrate", rest, parent=trunk.folder)
    for name in EXACT:
        assert resumed.bytes(name) == undisturbed.bytes(name), name
    for name in ("drop_bpb_with_rope", "drop_bpb_without_rope", "validation_bpb"):
        assert resumed.metrics[name] == undisturbed.metrics[name]


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_saves_and_the_next_process_continues_to_the_same_bits(
    base: Any, launch: Launch, segment: TrainingIdentity, tmp_path: Path
) -> None:
    stopped = launch("run", "pretrain", segment, signal_at=6)
    assert stopped.returncode == 143, stopped.stderr
    assert "SIGTERM at step 6: saved" in stopped.stderr
    assert not list((tmp_path / "run" / "output").iterdir())
    resumed = launch("run", "pretrain", segment)
    assert resumed.returncode == 0, resumed.stderr
    for name in EXACT:
        assert (tmp_path / "run" / "output" / name).read_bytes() == base.bytes(name), name
