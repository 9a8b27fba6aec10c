"""Two ranks on the CPU train the model that one rank trains; they stop, resume and fail together."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from core.stages.identity import TrainingIdentity
from core.training.distributed import World

Launch = Callable[..., Any]


@given(total=st.integers(0, 100), size=st.integers(1, 9))
def test_the_shares_of_all_ranks_tile_the_items_in_order(total: int, size: int) -> None:
    shares = [World(rank, size, torch.device("cpu")).share(total) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_world_of_one_needs_no_process_group() -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.leads
    assert world.sum(1.0, 2.5) == (1.0, 2.5)
    assert world.gather(3.0) == [3.0]
    assert (world.any(False), world.any(True), world.broadcast(7)) == (False, True, 7)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 1])  # that go on where two were stopped
def test_two_ranks_equal_one_up_to_the_order_of_additions_through_an_interruption(
    base: Any, launch: Launch, segment: TrainingIdentity, tmp_path: Path, ranks: int
) -> None:
    stopped = launch("two", "pretrain", segment, ranks=2, signal_at=7)  # the signal reaches rank 0 only
    assert stopped.returncode != 0
    assert "SIGTERM at step 7: saved" in stopped.stderr
    assert "a signal to another rank at step 7: saved" in stopped.stderr
    resumed = launch("two", "pretrain", segment, ranks=ranks)
    assert resumed.returncode == 0, resumed.stderr
    assert ("continuing at step 7 of 20, on 1 ranks instead of 2" in resumed.stdout) == (ranks == 1)
    found = load_file(tmp_path / "two" / "output" / "model.safetensors")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "two" / "output" / "loss.jsonl").open()]
    expected = [json.loads(line)["loss"] for line in base.bytes("loss.jsonl").splitlines()]
    assert losses == pytest.approx(expected, rel=1e-3)
    for name, tensor in load_file(base.folder / "model.safetensors").items():
        assert (found[name] - tensor).norm() < 1e-2 * tensor.norm(), name
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["validation_bpb"] == pytest.approx(base.metrics["validation_bpb"], rel=1e-3)


@pytest.mark.slow
def test_no_rank_calls_a_checkpoint_saved_before_it_is_stored(launch: Launch, segment: TrainingIdentity) -> None:
    stopped = launch("two", "pretrain", segment, ranks=2, signal_at=3, store_away=True)
    assert stopped.returncode != 0
    assert "step 3: could not be saved" in stopped.stderr
    assert "step 3: saved" not in stopped.stderr


@pytest.mark.slow
def test_a_rank_that_dies_takes_the_waiting_ones_down(
    launch: Launch, segment: TrainingIdentity, tmp_path: Path
) -> None:
    broken = launch("broken", "pretrain", segment, ranks=2, signal_at=3, signal_number=signal.SIGKILL)
    assert broken.returncode not in (0, 143)
    assert not list((tmp_path / "broken" / "output").iterdir())
