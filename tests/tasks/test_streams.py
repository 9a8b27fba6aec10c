"""Which groups a training stage streams, and that they must hold what it reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit

from artifacts.errors import ArtifactMissing, StoreError
from artifacts.store import Store
from core.planning.pipeline import decontaminate_stage
from core.planning.pretraining import pack_stage, trunk_segments
from core.planning.stage import Stage
from core.recipes.table import recipes
from core.stages.identity import TrainingIdentity
from tasks.streams import streamed_artifacts

RECIPE = recipes()["d20_20tpp"]
ROWS_PER_STEP = RECIPE.pretraining.batch_tokens // RECIPE.architecture.sequence_length
GROUPS = [pack_stage(RECIPE, *RECIPE.corpus.group(index)) for index in range(2)]


def stage_of_two_groups(end_step: int) -> Stage:
    segment = trunk_segments(RECIPE)[0]
    assert isinstance(segment.identity, TrainingIdentity)
    inputs = {f"group-{index:03d}": group for index, group in enumerate(GROUPS)}
    return replace(segment, identity=replace(segment.identity, end_step=end_step), inputs=inputs, observed={})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def test_the_groups_of_a_local_store_are_read_in_place(store: Store) -> None:
    for group in GROUPS:
        commit(store, group, rows=10 * ROWS_PER_STEP)
    assert streamed_artifacts(stage_of_two_groups(20), store) == {}


def test_groups_that_end_before_the_stage_does_are_refused_in_one_line(store: Store) -> None:
    for group in GROUPS:
        commit(store, group, rows=10 * ROWS_PER_STEP)
    with pytest.raises(StoreError, match=r"its 2 packed groups hold 5,120 rows, but step 21 needs 5,376; `miniseries"):
        streamed_artifacts(stage_of_two_groups(21), store)


def test_so_are_groups_that_do_not_hold_what_decontamination_reads(store: Store) -> None:
    for group in GROUPS:
        commit(store, group, rows=10)
    search = replace(decontaminate_stage(RECIPE), inputs={"group-000": GROUPS[0]}, observed={"group-001": GROUPS[1]})
    rows = f"{RECIPE.pretraining.steps * ROWS_PER_STEP:,}"
    with pytest.raises(StoreError, match=f"its 2 packed groups hold 20 rows, but its search needs {rows}; `miniseries"):
        streamed_artifacts(search, store)


def test_a_group_that_is_not_there_is_named(store: Store) -> None:
    commit(store, GROUPS[0], rows=10)
    with pytest.raises(ArtifactMissing, match=f"{GROUPS[1].address} is not in store .*; `miniseries run` makes it"):
        streamed_artifacts(stage_of_two_groups(1), store)


def test_other_stages_stream_nothing(store: Store) -> None:
    assert streamed_artifacts(GROUPS[0], store) == {}
