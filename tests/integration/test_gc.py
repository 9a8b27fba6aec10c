"""`miniseries gc` on a store from which a tag was published, by somebody who does not know the recipe any more."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit_all
from running import ROOT, Miniseries
from s3_server import Server

from artifacts.store import Store
from core.planning.pipeline import pipeline_stages
from core.recipes.table import find_recipe
from core.stages.kind import StageKind

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

PLAIN = ROOT / "tests" / "support" / "plain_miniseries.py"
TAG = "micro_drope_50_long"


def old_log(home: Path) -> Path:
    """A log that nobody has written to for 40 days."""
    log = home / "state" / "miniseries" / "log" / "pretrain" / "micro.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 1\n")
    os.utime(log, (time.time() - 40 * 86_400,) * 2)
    return log


def snapshot(store: Path) -> dict[str, bytes]:
    """Every object that is not a lease."""
    files = (path for path in store.rglob("*") if path.is_file() and ".store" not in path.parts)
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files if path.name != "lease.json"}


def test_garbage_is_listed_marked_taken_back_kept_when_used_and_deleted_after_its_window(
    finished: Miniseries, tmp_path: Path
) -> None:
    knowing = finished.on_copy(tmp_path)
    plain, store = replace(knowing, program=PLAIN), tmp_path / "store"
    log, before = old_log(tmp_path), snapshot(store)
    twins = {f"export_twin/{one['name']}-{one['key'][:12]}" for one in knowing.manifests("export_twin")}
    assert twins
    assert not [path for path in before if path.startswith("plans/")], "runs that ended need nothing any more"

    assert knowing.json("gc", "--dry-run", "--json")["garbage"] == [], "its recipe reaches everything"
    listed = plain.json("gc", "--dry-run", "--json")
    garbage = {one["path"]: one for one in listed["garbage"]}
    assert twins <= garbage.keys(), "they were not published, unlike everything else"
    assert not {path.partition("/")[0] for path in garbage} & {"pretrain", "recalibrate", "long_sft", "publish"}
    assert "no recipe" in garbage[min(twins)]["reason"]
    assert [found["path"] for found in listed["logs"]] == [str(log)]
    assert listed["totals"]["bytes"] == sum(one["bytes"] for one in garbage.values())
    assert snapshot(store) == before

    refused = plain.run("gc")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "--yes" in refused.stderr
    assert snapshot(store) == before

    marked = plain.json("gc", "--yes", "--json")["done"]
    assert (sorted(marked["marked"]), marked["deleted"]) == (sorted(garbage), [])
    assert {path: content for path, content in snapshot(store).items() if not path.startswith("trash/")} == before
    assert not log.exists()
    undone = plain.json("gc", "--undo", "--json")
    assert (undone["kept"], undone["busy"], undone["logs"]) == (sorted(garbage), [], 1)
    assert snapshot(store) == before
    assert log.exists()

    assert "1 old logs" in plain.run("gc", "--yes").stdout
    states = knowing.json("make", TAG, "export_twin")
    assert {states[twin] for twin in twins} == {"cached"}
    assert not [path for path in snapshot(store) if path.startswith("trash/export_twin/")], "they are in use again"

    plain.json("gc", "--yes", "--json")
    done = plain.json("gc", "--yes", "--window-days", "0", "--json")["done"]
    assert set(done["deleted"]) == garbage.keys()
    assert knowing.manifests("export_twin") == []
    assert {path.split("/")[0] for path in before.keys() - snapshot(store).keys()} == {
        path.partition("/")[0] for path in garbage
    }
    assert plain.run("verify").returncode == 0
    assert list((tmp_path / "state" / "miniseries" / "log").rglob("micro.log")) == []


def test_on_s3_what_an_earlier_recipe_made_is_marked_and_deleted(
    s3_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    plain = Miniseries(tmp_path, "s3://miniseries/garbage", s3_server.environment(), program=PLAIN)
    store = Store.open(plain.store, tmp_path / "cache")
    recipe = find_recipe("tiny")
    earlier = replace(recipe, pretraining=replace(recipe.pretraining, seed=recipe.pretraining.seed + 1))
    trained = [stage for stage in pipeline_stages(earlier) if stage.kind in (StageKind.PACK, StageKind.PRETRAIN)]
    commit_all(store, trained, hours=3)

    listed = plain.json("gc", "--dry-run", "--json")
    segments = sorted(stage.address.folder for stage in trained if stage.kind is StageKind.PRETRAIN)
    assert [one["path"] for one in listed["garbage"]] == segments
    assert listed["totals"]["gpu_hours"] == 3 * len(segments)
    assert all("seed of `pretrain tiny steps" in one["reason"] for one in listed["garbage"])
    plain.json("gc", "--yes", "--json")
    assert plain.run("verify").returncode == 0
    done = plain.json("gc", "--yes", "--window-days", "0", "--json")["done"]
    assert done["deleted"] == segments
    assert {address.kind for address in store.addresses()} == {"pack"}
