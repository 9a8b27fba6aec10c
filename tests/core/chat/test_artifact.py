"""Which model a tag means, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from committing import commit_files
from reciting import COFFEE, write_reciter

from artifacts.errors import ArtifactMissing
from artifacts.store import Store
from core.chat.artifact import model_stages
from core.recipes.recipe import RecipeError
from core.stages.kind import StageKind


@pytest.mark.parametrize(
    ("tag", "phase", "kind"),
    [
        ("tiny", None, StageKind.SFT),
        ("tiny", "sft", StageKind.SFT),
        ("tiny", "base", StageKind.PRETRAIN),
        ("tiny-drope-50", "base", StageKind.RECALIBRATE),
        ("tiny_drope_50_long", None, StageKind.LONG_SFT),
        ("tiny_bidirectional", None, StageKind.PRETRAIN),
        ("d20_bidirectional", "base", StageKind.PRETRAIN),
    ],
)
def test_a_tag_means_its_fine_tune_where_there_is_one(tag: str, phase: str | None, kind: StageKind) -> None:
    assert model_stages(tag, phase).model.kind is kind


def test_a_base_model_has_no_fine_tune() -> None:
    with pytest.raises(RecipeError, match="tiny_bidirectional is a base model without a fine-tune"):
        model_stages("tiny_bidirectional", "sft")


def test_a_model_that_is_not_made_says_how_to_make_it(tmp_path: Path) -> None:
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "cache")
    with pytest.raises(ArtifactMissing, match="run `miniseries run tiny_long`"):
        model_stages("tiny-long").load(store)


def test_a_model_that_is_made_is_loaded(tmp_path: Path) -> None:
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "cache")
    write_reciter(tmp_path, COFFEE)
    stages = model_stages("tiny")
    for stage, name in ((stages.model, "model"), (stages.tokenizer, "tokenizer")):
        commit_files(store, stage, {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert stages.load(store).state.phase == "sft"
