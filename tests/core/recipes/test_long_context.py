"""What a recipe may say about lengths beyond the trained one, and what every model of the families says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.planning.pipeline import pipeline_stages
from core.recipes.miniseries import LONG_CONTEXT
from core.recipes.recipe import RecipeError
from core.recipes.table import recipes
from core.stages.kind import StageKind


@pytest.mark.parametrize("tag", list(recipes()))
def test_every_model_of_every_family_is_measured_at_one_to_eight_times_its_length(tag: str) -> None:
    measured = recipes()[tag].evaluation.long_context
    assert measured is not None
    assert measured.factors == (1, 2, 4, 8)
    stages = pipeline_stages(recipes()[tag])
    models = {stage.inputs["model"].key for stage in stages if stage.kind is StageKind.LONG_CONTEXT}
    assert models == {stage.inputs["model"].key for stage in stages if stage.kind is StageKind.EVALUATE}


def test_at_full_size_a_rate_rests_on_500_trials() -> None:
    assert LONG_CONTEXT.needle_trials >= 500


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"factors": ()}, "ascending"),
        ({"factors": (2, 1)}, "ascending"),
        ({"factors": (0, 1)}, "from 1 upwards"),
        ({"choices": 1}, "use at least 2"),
        ({"needle_trials": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_could(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        replace(LONG_CONTEXT, **change)
