"""What RoPE is worth: the same weights, the same rows, with it and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from toy_models import toy_transformer

from core.data.rows import Rows
from core.evaluation.bits_per_byte import bits_per_byte
from core.evaluation.rope_effect import SHARE
from core.model.checkpoint import load_state, save
from core.model.transformer import Transformer

if TYPE_CHECKING:
    from conftest import Workplace

TEXTS = [f"Number {number}: where a word stands may matter, or may not. " * 2 for number in range(12)]
READ = len(TEXTS) // SHARE
RECORDS = (
    {"step": 3, "loss": 4.0, "rate_multiplier": 1.0},
    {"step": 3, "validation_bpb": 3.5, "drop_bpb_with_rope": 2.5, "drop_bpb_without_rope": 3.5},
    {"step": 5, "validation_bpb": 2.75},
)


def measured(model: Transformer, rows: Rows, workplace: Workplace) -> dict[str, float]:
    """Bits per byte of a model with RoPE and without, on a quarter of the rows."""
    found = {}
    for name, model.use_rope in (("with", True), ("without", False)):
        found[name] = bits_per_byte(model, rows[:READ], workplace.tokenizer.token_bytes)
    return found


def keep(folder: Path, like: Path, model: Transformer) -> None:
    """Save a model that has RoPE."""
    folder.mkdir(exist_ok=True)
    save(folder, replace(load_state(like), phase="base", use_rope=True), model.state_dict())


def test_a_model_that_kept_rope_is_also_read_without_it(workplace: Workplace) -> None:
    model = toy_transformer(workplace.model.architecture)
    keep(workplace.root / "model", workplace.root / "model", model)
    pack = workplace.pack(TEXTS)
    folder, metrics = workplace.evaluate(pack, "base")
    expected = measured(model, Rows.open(pack), workplace)
    assert metrics["rope/with"] == pytest.approx(expected["with"])
    assert metrics["rope/without"] == pytest.approx(expected["without"])
    difference = json.loads((folder / "evaluation.json").read_text())["results"]["rope/without_minus_with"]
    assert difference["value"] == pytest.approx(expected["without"] - expected["with"])
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    bits = {name: [one["bits"] for one in lines if one["set"] == f"rope/{name}"] for name in ("with", "without")}
    sizes = [one["bytes"] for one in lines if one["set"] == "rope/with"]
    by_hand = sum(after - before for before, after in zip(bits["with"], bits["without"], strict=True)) / sum(sizes)
    assert difference["value"] == pytest.approx(by_hand)
    low, high = difference["interval"]
    assert low <= difference["value"] <= high


def test_a_recalibrated_model_is_read_at_the_drop_and_at_the_end_with_rope_and_without(
    workplace: Workplace, save_model: Callable[..., None]
) -> None:
    trunk = toy_transformer(workplace.model.architecture)
    with_other_weights = {name: 1.5 * weight for name, weight in trunk.state_dict().items()}
    trunk.load_state_dict(with_other_weights)
    keep(workplace.root / "trunk", workplace.root / "model", trunk)
    save_model("base")
    (workplace.root / "model" / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in RECORDS))
    pack = workplace.pack(TEXTS)
    folder, metrics = workplace.evaluate(pack, "base", further={"before_drop": workplace.root / "trunk"})
    rows = Rows.open(pack)
    for name, model in (("rope_at_drop", trunk), ("rope_at_end", workplace.model)):
        for which, value in measured(model, rows, workplace).items():
            assert metrics[f"{name}/{which}"] == pytest.approx(value)
    assert not [name for name in metrics if name.startswith("rope/")]
    recovery = json.loads((folder / "evaluation.json").read_text())["recovery"]
    assert recovery == {
        "drop_step": 3,
        "with_rope": 2.5,
        "sample_size": None,
        "sample_unit": "bytes",
        "points": [{"steps": 0, "bits_per_byte": 3.5}, {"steps": 2, "bits_per_byte": 2.75}],
    }


def test_a_model_that_never_had_rope_says_nothing_of_it(workplace: Workplace) -> None:
    folder, metrics = workplace.evaluate(workplace.pack(TEXTS), "base")
    assert not [name for name in metrics if name.startswith("rope")]
    assert "recovery" not in json.loads((folder / "evaluation.json").read_text())
