"""Which models a study compares, in what, and the numbers, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from written_evaluations import TRAINED, WrittenModel

Studied = Callable[..., Path]

KEPT = WrittenModel(name="toy-base", methods=("plain", "yarn"))
DROPPED = WrittenModel(
    name="toy_drope_50-base",
    rope_drop=0.5,
    methods=("plain", "logit-scale"),
    bits=lambda text, factor: 1000.0 * factor + text + (64.0 if factor == 1 else -128.0),
    rows=(160.0, 151.0, 162.0, 153.0, 154.0, 155.0),
    rights=lambda kind, number, factor: True,
)


def contrasts(folder: Path, **wanted: str) -> list[dict[str, Any]]:
    """The contrasts with these fields."""
    found = json.loads((folder / "study.json").read_text())["contrasts"]
    return [one for one in found if all(one[name] == value for name, value in wanted.items())]


def the_contrast(folder: Path, **wanted: str) -> dict[str, Any]:
    """The only one."""
    (found,) = contrasts(folder, **wanted)
    return found


def test_bits_per_byte_of_long_texts(studied: Studied) -> None:
    folder = studied(KEPT, DROPPED)
    near = the_contrast(folder, family="RoPE dropped", quantity="long text", condition="1x")
    far = the_contrast(folder, family="RoPE dropped", quantity="long text", condition="2x")
    assert isclose(near["difference"], 64 / (10 * TRAINED))  # of each text, so the interval has no width
    assert isclose(near["interval"][0], 0.1, abs_tol=1e-12)
    assert isclose(near["interval"][1], 0.1, abs_tol=1e-12)
    assert isclose(far["difference"], -128 / (20 * TRAINED))
    assert (near["verdict"], far["verdict"]) == ("worse", "better")
    assert (near["sample_size"], near["sample_unit"]) == (8, "texts")
    assert isclose(near["baseline_value"], sum(1000 + text for text in range(8)) / (8 * 10 * TRAINED))


def test_held_out_rows(studied: Studied) -> None:
    found = the_contrast(studied(KEPT, DROPPED), family="RoPE dropped", quantity="held-out text")
    assert isclose(found["difference"], 20 / 600)
    assert (found["sample_size"], found["verdict"]) == (6, "no difference detected")


def test_needles_are_means_over_kinds(studied: Studied) -> None:
    found = the_contrast(studied(KEPT, DROPPED), family="RoPE dropped", quantity="needles found", condition="2x")
    assert (found["treatment_value"], found["baseline_value"], found["difference"]) == (1.0, 0.5, 0.5)
    assert (found["sample_size"], found["sample_unit"]) == (8, "trials")


def test_chatcore_is_centered_task_by_task(studied: Studied) -> None:
    answers = {"choice": (True, False, False, False, None, True), "open": (True, True, False, False)}
    kept = replace(KEPT, name="toy-sft", phase="sft", answers=answers)
    better = {"choice": (True, True, False, False, True, True), "open": (True, True, True, True)}
    dropped = replace(DROPPED, name="toy_drope_50-sft", phase="sft", answers=better)
    found = the_contrast(studied(kept, dropped), quantity="ChatCORE")
    assert isclose(found["baseline_value"], ((2 / 5 - 0.25) / 0.75 + 0.5) / 2)
    assert isclose(found["treatment_value"], ((3 / 5 - 0.25) / 0.75 + 1.0) / 2)  # the fifth was not asked of both
    assert (found["sample_size"], found["sample_unit"]) == (9, "questions")


def test_each_extended_at_its_best(studied: Studied) -> None:
    found = the_contrast(studied(KEPT, DROPPED), family="RoPE dropped, each at its best", quantity="long text")
    assert (found["treatment"], found["baseline"]) == ("toy_drope_50-base, logit-scale", "toy-base, yarn")
    assert found["condition"] == "2x"  # within the trained length there is nothing to extend


def test_ways_to_extend_a_model_beside_reading_with_it_as_it_is(studied: Studied) -> None:
    folder = studied(KEPT, DROPPED)
    assert the_contrast(folder, family="RoPE scaling", quantity="long text")["treatment"] == "toy-base, yarn"
    assert the_contrast(folder, family="logit scale", quantity="long text")["baseline"] == "toy_drope_50-base"


def test_fine_tunes_beside_what_they_were_made_from(studied: Studied) -> None:
    tuned = replace(KEPT, name="toy-sft", phase="sft", bits=lambda text, factor: 1064.0 * factor + text)
    found = contrasts(studied(KEPT, tuned), family="fine-tuning", quantity="long text")
    assert [one["condition"] for one in found] == ["1x", "2x"]
    assert all(isclose(one["difference"], 0.1, rel_tol=1e-3) for one in found)


def test_directions_are_compared_in_the_ways_that_both_read(studied: Studied) -> None:
    backward = replace(KEPT, name="toy_backward-base", direction="backward", rows=[bits + 5 for bits in KEPT.rows])
    both = replace(KEPT, name="toy_both-base", direction="bidirectional", rows=[bits + 10 for bits in KEPT.rows])
    found = contrasts(studied(KEPT, backward, both), family="direction", quantity="held-out text")
    seen = {(one["treatment"], one["baseline"]): (one["condition"], round(one["difference"], 9)) for one in found}
    assert seen == {
        ("toy_both-base", "toy-base"): ("", 0.1),
        ("toy_both-base", "toy_backward-base"): ("backward", 0.05),
        ("toy_backward-base", "toy-base"): ("backward less forward", 0.05),
    }


def test_a_sibling_that_is_not_there_is_missing_with_the_reason(studied: Studied) -> None:
    folder = studied(DROPPED)
    (missing,) = json.loads((folder / "study.json").read_text())["missing"]
    assert missing["what"] == "toy_drope_50-base"
    assert missing["why"] == "no base model of toy that kept RoPE is in the study"
    assert not contrasts(folder, family="RoPE dropped")


def test_models_that_read_other_documents_are_not_compared_in_them(studied: Studied) -> None:
    folder = studied(KEPT, replace(DROPPED, documents_from=100))
    assert not contrasts(folder, family="RoPE dropped", quantity="long text")
    missing = json.loads((folder / "study.json").read_text())["missing"]
    assert {one["why"] for one in missing} == {"they have no texts in common"}


def test_a_quantity_that_was_not_measured_is_missing_and_not_zero(studied: Studied) -> None:
    folder = studied(KEPT, replace(DROPPED, rows=()))
    assert not contrasts(folder, quantity="held-out text")
    missing = json.loads((folder / "study.json").read_text())["missing"]
    assert {"held-out text of toy_drope_50-base and toy-base"} <= {one["what"] for one in missing}
    assert "not measured of toy_drope_50-base" in {one["why"] for one in missing}


def test_five_clusters_are_too_few_whatever_their_interval(studied: Studied) -> None:
    folder = studied(replace(KEPT, texts=5), replace(DROPPED, texts=5))
    found = the_contrast(folder, family="RoPE dropped", quantity="long text", condition="1x")
    assert found["interval"][0] > 0
    assert found["verdict"] == "too few to tell"


def test_one_cluster_has_no_interval(studied: Studied) -> None:
    folder = studied(replace(KEPT, texts=1), replace(DROPPED, texts=1))
    found = the_contrast(folder, family="RoPE dropped", quantity="long text", condition="1x")
    assert (found["interval"], found["verdict"]) == (None, "too few to tell")


def test_means_are_over_all_pairs_and_over_those_alike(studied: Studied) -> None:
    later = replace(
        DROPPED, name="toy_drope_75-base", rope_drop=0.75, bits=lambda text, factor: 1000.0 * factor + text + 192.0
    )
    folder = studied(KEPT, DROPPED, later)
    found = json.loads((folder / "study.json").read_text())["summaries"]
    (mean,) = [
        one
        for one in found
        if (one["family"], one["quantity"], one["condition"]) == ("RoPE dropped", "long text", "1x")
    ]
    assert (mean["group"], mean["contrasts"]) == ("all", 2)  # of one depth and horizon, which need no mean of their own
    assert isclose(mean["difference"], (0.1 + 0.3) / 2)
    assert mean["interval"] == pytest.approx([0.2, 0.2])


def test_the_words_say_what_the_numbers_say(studied: Studied) -> None:
    found = json.loads((studied(KEPT, DROPPED) / "study.json").read_text())
    assert found["headline"][0].endswith("worse at 1x; better at 2x the trained length.")
    assert "at 1x +0.1000 (95 % interval +0.1000 to +0.1000, 8 texts: worse)" in found["details"][0]


def test_an_interval_that_holds_zero_is_called_no_difference_detected(studied: Studied) -> None:
    alike = replace(DROPPED, bits=lambda text, factor: 1000.0 * factor + text + (5.0 if text % 2 else -5.0))
    first, *_ = json.loads((studied(KEPT, alike) / "study.json").read_text())["headline"]
    assert "no difference detected at 1x and 2x" in first
