"""One pass over a mixture from a base: warm optimizer, masked loss, longer rows, positions as the base has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.data.rows import Rows
from core.evaluation.bits_per_byte import bits_per_byte
from core.model.checkpoint import load_model, load_state
from core.model.loss import IGNORED
from core.stages.context import StageError
from core.stages.identity import FinetuneIdentity, TrainingIdentity
from core.training.batches import MixtureBatches, open_mixture

Train = Callable[..., Any]


def test_a_fine_tune_takes_every_row_once_at_twice_the_length_and_learns(
    base: Any, train: Train, tuning: FinetuneIdentity, inputs: Any
) -> None:
    tuned = train("tuned", "finetune", tuning, parent=base.folder)
    losses = [json.loads(line)["loss"] for line in tuned.bytes("loss.jsonl").splitlines()]
    assert len(losses) == tuned.metrics["steps"] == 6  # 22 rows, 4 a step: the last step has two
    assert all(np.isfinite(losses))
    rows, mask = open_mixture(inputs.finetuning["mixture"], "validation")
    token_bytes = np.load(inputs.finetuning["tokenizer"] / "token_bytes.npy")
    before, after = (
        bits_per_byte(load_model(folder), rows[:4], token_bytes, mask=mask[:4])  # as many as one training batch
        for folder in (base.folder, tuned.folder)
    )
    assert after < before
    assert tuned.metrics["validation_bpb"] == pytest.approx(after, rel=1e-6)
    state = load_state(tuned.folder)
    assert (state.phase, state.step, state.steps, state.sequence_length) == ("sft", 6, 6, 32)
    assert state.tokens_seen == 1920 + 6 * 4 * 32


def test_the_optimizer_is_warm(base: Any, train: Train, tuning: FinetuneIdentity) -> None:
    tuned = train("tuned", "finetune", tuning, parent=base.folder)
    assert load_file(tuned.folder / "optimizer.safetensors")["lm_head.weight.updates"] == 20 + 6


def test_positions_stay_as_the_base_has_them(train: Train, segment: TrainingIdentity, tuning: FinetuneIdentity) -> None:
    trunk = train("trunk", "pretrain", replace(segment, end_step=10))
    dropped = train("drop", "recalibrate", replace(segment, first_step=10, use_rope=False), parent=trunk.folder)
    tuned = train("tuned", "finetune", tuning, parent=dropped.folder)
    assert load_state(tuned.folder).use_rope is False


def test_a_fine_tuned_model_is_no_base(base: Any, train: Train, tuning: FinetuneIdentity) -> None:
    tuned = train("tuned", "finetune", tuning, parent=base.folder)
    with pytest.raises(StageError, match="fine-tuning starts from a base model"):
        train("again", "finetune", tuning, parent=tuned.folder)


def test_rows_of_another_length_are_refused(base: Any, train: Train, tuning: FinetuneIdentity) -> None:
    with pytest.raises(StageError, match=r"the mixture's rows have 33 tokens, expected 16 \+ 1"):
        train("tuned", "finetune", replace(tuning, sequence_length=16), parent=base.folder)


def test_rows_beyond_the_last_one_supervise_nothing(inputs: Any) -> None:
    rows, mask = open_mixture(inputs.finetuning["mixture"], "train")
    batches = MixtureBatches(rows, mask, rows_per_step=4)
    assert batches.steps == 6
    tokens, targets = batches.read(20, 4)
    assert tokens.shape == targets.shape == (4, 32)
    assert (targets[2:] == IGNORED).all()
    assert torch.equal(targets[0] != IGNORED, torch.from_numpy(mask[20, 1:] == 1))
    assert batches.supervised(20, 4) == (targets != IGNORED).sum()


def test_a_mask_of_the_wrong_size_is_refused(inputs: Any, tmp_path: Path) -> None:
    for name in ("train.rows.bin", "train.rows.json", "train.mask.bin"):
        (tmp_path / name).write_bytes((inputs.finetuning["mixture"] / name).read_bytes())
    (tmp_path / "train.mask.bin").write_bytes(b"\1" * 5)
    assert Rows.open(tmp_path, "train.rows").count == 22
    with pytest.raises(StageError, match=r"train\.mask\.bin has 5 bytes, 726 tokens need one each"):
        open_mixture(tmp_path, "train")
