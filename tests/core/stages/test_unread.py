"""Stages that only use a model do without what training it further takes."""

from __future__ import annotations

import pytest

from core.planning.catalogue import stages_of
from core.stages.kind import StageKind
from core.stages.unread import FOR_TRAINING, unread_files
from core.training.snapshot import OPTIMIZER

TAGS = ("tiny_drope_50_long", "tiny_bidirectional")


def test_the_file_is_called_as_training_writes_it() -> None:
    assert {OPTIMIZER} == FOR_TRAINING


@pytest.mark.parametrize("tag", TAGS)
def test_evaluating_and_converting_leave_the_optimizer_where_it_is_and_training_does_not(tag: str) -> None:
    users = {StageKind.EVALUATE, StageKind.LONG_CONTEXT, StageKind.CORE_METRIC, StageKind.EXPORT_HF}
    unread = {
        (stage.kind, role)
        for stage in stages_of(tag).values()
        for role in stage.needs
        if unread_files(stage.kind, role)
    }
    dropped = {(StageKind.EVALUATE, "before_drop")} if "drope" in tag else set()
    assert unread == {(kind, "model") for kind in users} | dropped


def test_a_twin_is_made_without_it_too() -> None:
    assert unread_files(StageKind.EXPORT_TWIN, "model") == FOR_TRAINING
    assert not unread_files(StageKind.EXPORT_TWIN, "tokenizer")
    assert not unread_files(StageKind.EXPORT_NATIVE, "model")
