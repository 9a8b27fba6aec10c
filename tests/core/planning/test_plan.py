"""A plan against a store in which things have happened: every state, every total, and what it takes to find out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from committing import commit, commit_all
from running import ROOT
from s3_server import Server, running_moto

from artifacts.bucket import BucketStorage
from artifacts.folder import FolderStorage
from artifacts.lease import HeldLease
from artifacts.location import store_location
from artifacts.storage import Storage
from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.cost import Cost, Terms
from core.planning.listing import plan_listing
from core.planning.plan import plan_of
from core.planning.stage import Stage
from core.recipes.table import chosen_family
from core.stages.kind import StageKind

TAGS = ("tiny", "tiny_drope_25")
BEFORE_TRAINING = (StageKind.CORPUS, StageKind.TOKENIZER, StageKind.PACK)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    log = tmp_path_factory.mktemp("moto") / "log"
    with running_moto(log) as server:
        yield server, log


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    server, _ = request.getfixturevalue("s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://miniseries/{tmp_path.name}"


@dataclass
class Scene:
    """A store in the middle of things; the stages by what has become of them."""

    store: Store
    finished: list[Stage]
    running: Stage  # by this process
    resumable: Stage
    damaged: Stage


def checkpoint(store: Store, stage: Stage, step: int, folder: Path) -> HeldLease:
    lease = store.leases.acquire(stage.address, purpose=f"pretrain {stage.name}", ttl=600)
    assert isinstance(lease, HeldLease)
    state = folder / str(step)
    state.mkdir()
    (state / "weights").write_bytes(b"w")
    store.progress(stage.address, lease.token).save(step, state)
    return lease


def make_scene(url: str, folder: Path) -> Scene:
    """Everything before training and the first segment are there; the second segment is at step 90, in our hands; the
    recalibration from the first is left at step 100; the mixture's file is not what it was.
    """
    store = Store.open(url, folder / "cache")
    stages = {**stages_of("tiny"), **stages_of("tiny_drope_25")}.values()
    segments = [stage for stage in stages if stage.kind is StageKind.PRETRAIN]
    (recalibration,) = [stage for stage in stages if stage.kind is StageKind.RECALIBRATE]
    (mixture,) = [stage for stage in stages if stage.kind is StageKind.MIXTURE]
    finished = [*(stage for stage in stages if stage.kind in BEFORE_TRAINING), segments[0]]
    commit_all(store, finished)
    checkpoint(store, segments[1], 90, folder)
    checkpoint(store, recalibration, 100, folder).release()
    attempt = commit(store, mixture).attempt
    (folder / "another").write_bytes(b"another")
    storage_at(url).upload(folder / "another", f"{mixture.address.folder}/files/{attempt}/file")
    assert store.verify(mixture.address)
    return Scene(store, finished, segments[1], recalibration, mixture)


def storage_at(url: str) -> Storage:
    location = store_location(url)
    if location.folder is not None:
        return FolderStorage(location.folder, location.url)
    return BucketStorage(location.bucket, location.prefix, location.url)


@pytest.fixture
def scene(url: str, tmp_path: Path) -> Scene:
    return make_scene(url, tmp_path)


def test_every_state_is_shown_as_it_is(scene: Scene) -> None:
    planned = {one.stage.key: one for one in plan_of(TAGS, scene.store).stages}

    def state(stage: Stage) -> str:
        return planned[stage.key].progress.state

    assert {state(stage) for stage in scene.finished} == {"cached"}
    running = planned[scene.running.key].progress
    assert (running.state, running.checkpoint_step) == ("running", 90)
    assert running.holder is not None
    assert running.holder.purpose == f"pretrain {scene.running.name}"
    assert re.fullmatch(r"by process \d+ on \S+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", running.detail)
    resumable = planned[scene.resumable.key].progress
    assert (resumable.state, resumable.checkpoint_step, resumable.detail) == ("resumable", 100, "at step 100")
    damaged = planned[scene.damaged.key].progress
    assert (damaged.state, damaged.damaged, damaged.needed) == ("pending", True, True)
    later = [one for one in planned.values() if one.stage.inputs.get("previous") is scene.running]
    assert [(one.progress.state, one.progress.blocked_by) for one in later] == [("blocked", scene.running)]
    tuned = {one.tags: one.progress.state for one in planned.values() if one.stage.kind is StageKind.SFT}
    assert tuned == {("tiny",): "blocked", ("tiny_drope_25",): "pending"}


@pytest.mark.parametrize("content", [None, b"conten", b"content and more"], ids=["missing", "cut short", "grown"])
def test_damage_that_nobody_has_read_yet_shows_in_the_listing(url: str, tmp_path: Path, content: bytes | None) -> None:
    store = Store.open(url, tmp_path / "cache")
    stages = [stage for stage in stages_of("tiny").values() if stage.kind in BEFORE_TRAINING]
    attempts = [commit(store, stage).attempt for stage in stages]
    path = f"{stages[1].address.folder}/files/{attempts[1]}/file"
    storage_at(url).delete([path])
    if content is not None:
        (tmp_path / "file").write_bytes(content)
        storage_at(url).upload(tmp_path / "file", path)
    planned = {one.stage.key: one.progress for one in plan_of(["tiny"], store).stages}
    assert [planned[stage.key].damaged for stage in stages] == [False, True, *[False] * (len(stages) - 2)]
    assert planned[stages[1].key].state == "pending"
    assert planned[stages[1].key].needed


def test_what_is_to_do_begins_at_the_checkpoints(scene: Scene) -> None:
    plan = plan_of(TAGS, scene.store)
    batch = 2048
    assert plan.total.tokens == (280 + 210) * batch
    assert plan.done.tokens == (70 + 20 + 30) * batch
    assert plan.remaining.tokens == plan.total.tokens - plan.done.tokens
    assert plan.unshared.tokens == 2 * 280 * batch
    assert plan.saved.tokens == 70 * batch


def test_sizes_are_measured_where_files_are_and_estimated_elsewhere(scene: Scene) -> None:
    planned = {one.stage.key: one for one in plan_of(TAGS, scene.store).stages}
    for stage in scene.finished:
        assert (planned[stage.key].size.bytes, planned[stage.key].size.basis) == (len(b"content"), "measured")
    for stage in (scene.running, scene.resumable, scene.damaged):
        assert planned[stage.key].size.basis == "assumed"


def test_json_carries_all_of_it(scene: Scene) -> None:
    listed: dict[str, Any] = plan_listing(plan_of(TAGS, scene.store), Terms(gpus=4, dollars_per_gpu_hour=2.0))
    stages = {stage["key"]: stage for stage in listed["stages"]}
    assert set(listed["totals"]) >= {"tokens", "tokens_unshared", "gpu_hours", "gpu_hours_unshared", "cost"}
    assert listed["totals"]["cost"] == pytest.approx(2.0 * listed["totals"]["gpu_hours"])
    assert listed["totals"]["wall_hours_remaining"] == pytest.approx(listed["totals"]["gpu_hours_remaining"] / 4)
    running = stages[scene.running.key]
    assert running["state"] == "running"
    assert running["running"]["since"] < running["running"]["until"]
    assert running["tokens_remaining"] == 50 * 2048
    assert stages[scene.damaged.key]["damaged"]
    assert {stage["blocked_by"] for stage in stages.values() if stage["state"] == "blocked"} <= set(stages)
    assert {stage["state"] for stage in stages.values()} == {"cached", "running", "resumable", "pending", "blocked"}


def test_a_finished_family_leaves_nothing_to_do(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    commit_all(store, stages_of("tiny").values())
    plan = plan_of(["tiny"], store)
    assert plan.remaining == Cost()
    assert plan.done == plan.total


def test_what_was_collected_as_garbage_is_neither_done_nor_to_do(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    *earlier, last = (stage for stage in stages_of("tiny").values() if stage.kind is not StageKind.PRETRAIN)
    commit_all(store, [*earlier, last])
    plan = plan_of(["tiny"], store)
    trained = [one for one in plan.stages if one.stage.kind is StageKind.PRETRAIN]
    assert not any(one.progress.needed for one in trained)
    assert (plan.done.tokens, plan.remaining.tokens) == (0, 0)


def test_a_folder_is_listed_once_and_no_file_of_an_artifact_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_scene(str(tmp_path / "store"), tmp_path).store
    calls: Counter[str] = Counter()
    read, listing = FolderStorage.read, FolderStorage.listing

    def counted_read(self: FolderStorage, path: str) -> object:
        calls[path.rpartition("/")[2]] += 1
        return read(self, path)

    def counted_listing(self: FolderStorage, prefix: str) -> object:
        calls["listing"] += 1
        return listing(self, prefix)

    monkeypatch.setattr(FolderStorage, "read", counted_read)
    monkeypatch.setattr(FolderStorage, "listing", counted_listing)
    monkeypatch.setattr(FolderStorage, "download", None)
    plan_of(chosen_family(), store)
    assert calls == {"listing": 1}
    plan_of(TAGS, store)
    assert calls == {"listing": 2, "lease.json": 3}  # of the stages that were begun and are not there whole


def test_a_bucket_is_asked_for_one_listing_and_the_leases_of_what_was_begun(
    s3: tuple[Server, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, log = s3
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    scene = make_scene(f"s3://miniseries/{tmp_path.name}", tmp_path)
    begun = len(log.read_text())
    plan_of([*chosen_family(), *TAGS], scene.store)
    asked = re.findall(r'"([A-Z]+) /miniseries(?:/\S+/)?(\S*?)(?:\?\S*)? HTTP', log.read_text()[begun:])
    assert Counter(asked) == {("GET", ""): 1, ("GET", "lease.json"): 3}


def test_planning_needs_neither_torch_nor_prefect() -> None:
    program = (
        "import sys\n"
        "from flows.command_line import app\n"
        "try: app()\n"
        "finally: print(sorted({'torch', 'prefect', 'datasets'} & set(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, "plan", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "sharing saves 28.7%" in done.stdout
