"""`why`: every field of every key is explained, and what is said of it is true."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

from core.planning.catalogue import find_stages, stages_of
from core.planning.explanation import explain, explanation_listing
from core.planning.fields import flatten
from core.recipes.origins import BIDIRECTIONAL, MINISERIES, TINY
from core.recipes.table import SERIES_VARIABLE, recipes

PLACE = re.compile(r"core(?:\.\w+)+")
SERIES = """\
name: study
base: tiny
axes: {steps: [80], drope: [50], pretraining.optimization.matrices.peak_rate: [0.5]}
set: {evaluation: {samples: 2}, seed: 3}
"""


def exists(place: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = place.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        reduce(getattr, parts[length:], module)
        return True
    return False


@pytest.mark.parametrize("tag", ["tiny_drope_50_long", "tiny_bidirectional", "d18_9tpp_drope_25", "d20_40tpp_long"])
def test_every_field_of_every_key_has_an_origin_and_one_that_repeats_a_recipe_field_has_its_value(tag: str) -> None:
    recipe = flatten(recipes()[tag])
    for stage in stages_of(tag).values():
        explanation = explain(tag, stage)
        assert [one.field for one in explanation.fields] == list(flatten(stage.identity))
        for one in explanation.fields:
            assert one.origin
            assert one.recipe_field is None or one.recipe_field in recipe
            if one.recipe_field and one.field.endswith(one.recipe_field.rpartition(".")[2]):
                both_ways = (one.field, one.value) == ("direction", "each")  # the held-out documents
                assert ("bidirectional" if both_ways else one.value) == recipe[one.recipe_field]


def test_every_place_in_the_code_that_is_named_is_there() -> None:
    texts = [text for origins in (TINY, MINISERIES, BIDIRECTIONAL) for text in origins.values()]
    for tag in ("tiny_drope_50_long", "d20_bidirectional"):
        texts += [one.origin for stage in stages_of(tag).values() for one in explain(tag, stage).fields]
    places = {place for text in texts for place in PLACE.findall(text)}
    assert len(places) > 20
    assert [place for place in sorted(places) if not exists(place)] == []


def test_every_origin_is_of_a_field_that_recipes_have() -> None:
    fields = {field for recipe in recipes().values() for field in flatten(recipe)}
    for origins in (TINY, MINISERIES, BIDIRECTIONAL):
        for path in origins:
            assert path == "" or path in fields or any(field.startswith((f"{path}.", f"{path}[")) for field in fields)


def test_a_stage_names_who_shares_it_and_what_is_made_from_it() -> None:
    (first, *_) = find_stages("d18_9tpp_drope_25", "pretrain")
    explanation = explain("d18_9tpp_drope_25", first)
    assert explanation.shared_by == ("d18_9tpp", "d18_9tpp_drope_25", "d18_9tpp_drope_50", "d18_9tpp_drope_75")
    kinds = [stage.kind.value for stage in explanation.made_from]
    assert kinds[0] == "recalibrate"
    assert kinds[-1] == "publish"
    assert not {"corpus", "tokenizer", "pack", "mixture"} & set(kinds)


def test_a_value_from_a_series_file_is_said_to_come_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(SERIES)
    monkeypatch.setenv(SERIES_VARIABLE, str(tmp_path / "mine.yaml"))
    (tag,) = [tag for tag in recipes() if tag.startswith("study")]
    stages = [stage for kind in ("recalibrate", "sft", "evaluate") for stage in find_stages(tag, kind)]
    origins = {(stage.kind.value, one.field): one.origin for stage in stages for one in explain(tag, stage).fields}
    assert origins["recalibrate", "steps"] == "axis steps of mine.yaml"
    assert origins["recalibrate", "optimization.matrices.peak_rate"].startswith("axis pretraining.optimization.mat")
    assert origins["recalibrate", "use_rope"].endswith("axis drope of mine.yaml")
    assert origins["recalibrate", "architecture.depth"] == "fixed by the tiny family (core.recipes.tiny.DEPTH)"
    assert origins["sft", "seed"] == "set: seed of mine.yaml"
    assert origins["sft", "optimization.matrices.peak_rate"].startswith("rule of fine-tuning")
    assert origins["evaluate", "samples"] == "set: evaluation.samples of mine.yaml"


def test_the_listing_holds_the_whole_identity() -> None:
    (stage,) = find_stages("tiny", "tokenizer")
    listing = explanation_listing("tiny", explain("tiny", stage))
    assert (listing["key"], listing["version"], listing["title"]) == (
        stage.key,
        stage.definition.version,
        "train tokenizer python-docs-2048",
    )
    fields = listing["fields"]
    assert isinstance(fields, list)
    assert {one["field"]: one["value"] for one in fields} == flatten(stage.identity)
