"""Rows, one line each: they add up to the results, and nothing is measured twice or on what was never read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.evaluation.old_token_bytes import old_token_bytes
from core.evaluation.resampling import RESAMPLES, ratio_interval
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.held_out import HeldOut
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

if TYPE_CHECKING:
    from conftest import Workplace

CONTEXT = 96
TEXTS = [f"Text number {number} of those to read. " * (1 + number % 3) for number in range(9)]


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def evaluation_of(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_the_lines_of_each_set_add_up_to_its_result(workplace: Workplace) -> None:
    folder, metrics = workplace.evaluate(workplace.pack(TEXTS), "base")
    for name, result in (("validation", "bits_per_byte"), ("train", "bits_per_byte_train")):
        lines = [line for line in rows_of(folder) if line["set"] == name]
        assert [line["row"] for line in lines] == list(range(len(lines)))
        size = sum(line["bytes"] for line in lines)
        assert sum(line["bits"] for line in lines) / size == pytest.approx(metrics[result], rel=1e-12)
        assert evaluation_of(folder)["results"][result]["sample_size"] == size


def test_training_rows_are_those_that_the_model_has_read_and_held_out_ones_as_many_as_asked(
    workplace: Workplace,
) -> None:
    folder, _ = workplace.evaluate(workplace.pack(TEXTS), "base")
    counts = {one["set"]: one["rows"] for one in evaluation_of(folder)["sets"]}
    assert counts == {"validation": len(TEXTS), "train": 700 // CONTEXT}
    folder, _ = workplace.evaluate(workplace.root / "pack", "base", validation_tokens=3 * CONTEXT)
    assert {one["set"]: one["rows"] for one in evaluation_of(folder)["sets"]} == {"validation": 3, "train": 3}


def test_only_marked_targets_of_a_mixture_count(workplace: Workplace) -> None:
    asked = [Conversation((user(f"Say {word}"), assistant(word))) for word in ("yes", "no")]
    mixture = workplace.mixture([HeldOut("saying", False, one) for one in asked])
    folder, metrics = workplace.evaluate(mixture, "chat")
    lines = rows_of(folder)
    assert {(line["set"], line["way"]) for line in lines} == {("validation", "forward")}
    assert [line["bytes"] for line in lines] == [len("yes"), len("no")]
    total = sum(line["bits"] for line in lines) / sum(line["bytes"] for line in lines)
    assert total == pytest.approx(metrics["bits_per_byte"], rel=1e-12)


def test_both_tables_of_token_lengths_are_reported_where_they_differ_and_only_there(workplace: Workplace) -> None:
    plain, _ = workplace.evaluate(workplace.pack(TEXTS), "base")
    assert not [name for name in evaluation_of(plain)["results"] if "old" in name]
    other = workplace.root / "umlauts"
    other.mkdir()
    with RowsWriter(other, "rows", CONTEXT + 1, workplace.tokenizer.vocabulary_size) as writer:
        writer.append([workplace.tokenizer.bos, *workplace.tokenizer.encode("ä" * (CONTEXT // 2))])
    results = evaluation_of(workplace.evaluate(other, "base")[0])["results"]
    new, old = results["bits_per_byte"], results["bits_per_byte_old_token_bytes"]
    assert (new["sample_size"], old["sample_size"]) == (CONTEXT, 3 * CONTEXT)
    assert old["value"] == pytest.approx(new["value"] / 3)


def test_the_old_table_counts_three_bytes_for_a_byte_that_is_no_text() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {"é".encode(): 256, b"\xff\xfe": 257}
    tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks)
    old = old_token_bytes(tokenizer)
    assert (old[65], old[0xC3], old[256], old[257], old[tokenizer.bos]) == (1, 3, 2, 6, 0)
    assert (old >= tokenizer.token_bytes).all()


def test_an_interval_is_that_of_resampled_sums() -> None:
    bits, sizes = np.array([3.0, 5.0, 20.0, 1.0]), np.array([2.0, 4.0, 5.0, 1.0])
    generator = np.random.default_rng(7)
    ratios = []
    for drawn in generator.integers(0, 4, (RESAMPLES, 4)):
        ratios.append(sum(bits[row] for row in drawn) / sum(sizes[row] for row in drawn))
    assert ratio_interval(bits, sizes, 7) == pytest.approx((np.percentile(ratios, 2.5), np.percentile(ratios, 97.5)))
    assert ratio_interval(bits[:1], sizes[:1], 7) is None


@given(st.integers(2, 30), st.floats(0.5, 4.0), st.integers(0, 2**31))
def test_rows_that_all_cost_the_same_have_an_interval_of_no_width(count: int, cost: float, seed: int) -> None:
    sizes = np.arange(1.0, count + 1)
    assert ratio_interval(cost * sizes, sizes, seed) == pytest.approx((cost, cost))
