"""The ledger of a tag from real packs in a real store, of a stream that is read more than twice."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from committing import commit, commit_files

from artifacts.store import Store
from core.data.best_fit import BestFitPacker
from core.data.corpus.artifact import Shard, shard_file
from core.data.packed_documents import PackedDocuments
from core.planning.ledger import Ledger, read_ledger, rows_of_file
from core.planning.ledger_listing import ledger_listing
from core.planning.pretraining import base_stage, pack_stage
from core.planning.stage import Stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import recipes
from core.stages.identity import PackIdentity
from core.stages.kind import StageKind

T, ROWS_A_STEP, STEPS = 32, 8, 32
TINY = recipes()["tiny_drope_50"]
READ = [{"file": "a.py", "bytes": 10, "sha256": "00", "version": None, "rows": 3, "skipped": 0}]


@pytest.fixture(autouse=True)
def ledger_tag(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """`ledger_drope_50`: 32 steps of 8 rows of 32 tokens."""
    recipe = replace(
        TINY,
        tag="ledger_drope_50",
        trunk="ledger",
        architecture=replace(TINY.architecture, sequence_length=T),
        pretraining=replace(TINY.pretraining, steps=STEPS, batch_tokens=ROWS_A_STEP * T),
    )
    recipe = replace(recipe, corpus=replace(recipe.corpus, tokens_per_shard=1000))
    monkeypatch.setitem(recipes(), recipe.tag, recipe)
    return recipe


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def commit_pack(store: Store, stage: Stage, seed: int) -> int:
    """Commit what packing documents of random lengths leaves; returns its rows."""
    identity = stage.identity
    assert isinstance(identity, PackIdentity)
    lengths = np.random.default_rng(seed).integers(0, 40, size=4 * 50)
    packer = BestFitPacker(identity.row_tokens, 20)
    rows = list(packer.rows(np.zeros(length, np.uint32) for length in lengths if length))
    placed, kept = np.array(packer.placed, np.int64), np.array(packer.placed_tokens, np.int64)
    index = PackedDocuments.placed(lengths, placed, kept, identity.row_tokens)
    shards = [
        Shard(number=number, file=shard_file(number), documents=50, characters=0)
        for number in range(identity.first_shard, identity.end_shard)
    ]
    content = io.BytesIO()
    np.save(content, index.records)
    accounts = [asdict(account) for account in index.accounts(shards)]
    commit_files(store, stage, {"rows.documents.npy": content.getvalue()}, rows=len(rows), shards=accounts)
    return len(rows)


def commit_corpus(store: Store, recipe: Recipe) -> None:
    corpus = pack_stage(recipe, *recipe.corpus.group(0)).inputs["corpus"]
    commit_files(store, corpus, {shard_file(number): b"parquet" for number in range(9)}, read=READ)


def train(store: Store, recipe: Recipe) -> None:
    """Commit the whole chain of training, base last."""
    stage: Stage | None = base_stage(recipe)
    while stage is not None:
        commit(store, stage)
        stage = stage.inputs.get("previous")


def tokens_seen(ledger: Ledger) -> int:
    return sum(file.target_tokens for seen in ledger.groups for file in seen.so_far)


def test_tokens_of_all_files_are_steps_times_batch_when_the_stream_wraps_around(
    store: Store, ledger_tag: Recipe
) -> None:
    rows = [commit_pack(store, pack_stage(ledger_tag, *ledger_tag.corpus.group(index)), index) for index in (0, 1)]
    commit_corpus(store, ledger_tag)
    train(store, ledger_tag)
    ledger = read_ledger("ledger-drope-50", store)
    assert sum(rows) < STEPS * ROWS_A_STEP < 2 * sum(rows), "the test needs a stream that wraps around"
    assert ledger.is_exact
    assert ledger.steps_trained == STEPS
    assert tokens_seen(ledger) == ledger_tag.tokens
    assert [seen.rows_so_far for seen in ledger.groups] == [STEPS * ROWS_A_STEP - rows[1], rows[1]]
    listing = ledger_listing(ledger)
    files = [file for group in listing["groups"] for file in group["files"]]
    assert [file["file"] for file in files] == [shard_file(number) for number in range(8)]
    assert all(file["bytes"] == len(b"parquet") and len(file["sha256"]) == 64 for file in files)
    assert listing["groups"][0]["read"] == READ
    for file in files:
        assert file["kept_tokens"] + file["cropped_tokens"] + file["dropped_tokens"] == file["tokens"]
        assert file["seen"] == file["at_end"]
    assert all(1 <= file["seen"]["times"] <= 2 for file in files[:4])
    assert any(1 < file["seen"]["times"] < 2 for file in files[:4])
    assert [file["seen"]["times"] for file in files[4:]] == [1.0] * 4


def test_rows_of_a_file_are_told_apart_by_how_often_they_were_read(store: Store, ledger_tag: Recipe) -> None:
    for index in (0, 1):
        commit_pack(store, pack_stage(ledger_tag, *ledger_tag.corpus.group(index)), index)
    train(store, ledger_tag)
    ledger = read_ledger(ledger_tag.tag, store)
    for file in ("shard_00001.parquet", "shard_00006.parquet"):
        runs = rows_of_file(ledger, file, store)
        assert (runs[0].first, runs[-1].end) == (0, 50)
        assert all(before.end == after.first for before, after in pairwise(runs))
    assert {run.times for run in rows_of_file(ledger, "shard_00001.parquet", store)} >= {1, 2}
    assert {run.times for run in rows_of_file(ledger, "shard_00006.parquet", store)} <= {0, 1}
    with pytest.raises(
        RecipeError, match=r"'other'; its packed files are shard_00000\.parquet to shard_00007\.parquet"
    ):
        rows_of_file(ledger, "other", store)


def test_half_a_training_has_read_half_of_what_is_planned(store: Store, ledger_tag: Recipe) -> None:
    for index in (0, 1):
        commit_pack(store, pack_stage(ledger_tag, *ledger_tag.corpus.group(index)), index)
    trunk = base_stage(ledger_tag).inputs["previous"]
    commit(store, trunk)
    ledger = read_ledger(ledger_tag.tag, store)
    assert ledger.steps_trained == STEPS // 2
    assert tokens_seen(ledger) == ledger_tag.tokens // 2
    assert sum(file.target_tokens for seen in ledger.groups for file in seen.at_end) == ledger_tag.tokens


def test_what_is_not_made_is_planned_and_estimated(store: Store, ledger_tag: Recipe) -> None:
    ledger = read_ledger(ledger_tag.tag, store)
    assert not ledger.is_exact
    assert [group["state"] for group in ledger_listing(ledger)["groups"]] == ["planned", "planned"]
    assert sum(seen.rows_at_end for seen in ledger.groups) == STEPS * ROWS_A_STEP
    commit_pack(store, pack_stage(ledger_tag, *ledger_tag.corpus.group(0)), 0)
    ledger = read_ledger(ledger_tag.tag, store)
    assert [group["state"] for group in ledger_listing(ledger)["groups"]] == ["packed", "planned"]
    assert ledger.groups[1].group.rows == ledger.groups[0].group.rows, "the estimate follows what was measured"


def test_a_fine_tune_is_its_tasks_and_epochs(store: Store, ledger_tag: Recipe) -> None:
    (finetune,) = read_ledger(ledger_tag.tag, store).finetunes
    assert (finetune.stage.kind, finetune.is_trained, finetune.tasks) == (StageKind.SFT, False, {})
    counts = {
        "origin": "made by a program",
        "epochs": 2,
        "conversations": 80,
        "truncated": 1,
        "supervised_tokens": 900,
    }
    commit(store, finetune.stage.inputs["mixture"], tasks={"simple-spelling": counts})
    commit(store, finetune.stage)
    (listed,) = ledger_listing(read_ledger(ledger_tag.tag, store))["finetunes"]
    assert listed["trained"] is True
    assert listed["tasks"] == [{"task": "simple-spelling", "examples": 40, **counts}]
