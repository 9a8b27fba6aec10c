"""Training on packed groups that come from a bucket, with two ranks and a cache smaller than the stream."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from committing import commit_files
from s3_proxy import Proxy, running_proxy
from s3_server import Server

from artifacts.manifest import Manifest
from artifacts.store import Store
from core.data.rows import RowsWriter
from core.planning.pretraining import tokenizer_stage, validation_stage
from core.planning.stage import Stage
from core.recipes.table import recipes
from core.stages.identity import PackIdentity, TrainingIdentity
from core.stages.kind import StageKind
from tasks.display import LineDisplay
from tasks.launch import Launcher
from tasks.perform import Assignment, StageFailed, perform
from tasks.settings import settings_from_environment

pytestmark = pytest.mark.slow

LENGTH, VOCABULARY, ROWS_PER_STEP, STEPS = 128, 512, 8, 20
GROUPS, ROWS = 5, 30  # ten rows fewer than the steps read
GROUP_BYTES = ROWS * (LENGTH + 1) * 2
LIMIT = 2 * GROUP_BYTES + 5_000  # tokenizer, validation and the descriptions of two groups are 4 KB


def stages() -> tuple[Stage, list[Stage]]:
    """A pretraining stage, and the packed groups that it reads."""
    recipe = recipes()["tiny"]
    architecture = replace(
        recipe.architecture,
        depth=1,
        width=32,
        heads=1,
        key_value_heads=1,
        head_width=32,
        mlp_width=64,
        vocabulary_size=VOCABULARY,
        sequence_length=LENGTH,
    )
    first = validation_stage(recipe)
    assert isinstance(first.identity, PackIdentity)
    groups = [
        Stage(
            StageKind.PACK,
            f"streamed-{number}",
            replace(first.identity, row_tokens=LENGTH + 1, first_shard=number, end_shard=number + 1),
            first.inputs,
        )
        for number in range(GROUPS)
    ]
    identity = TrainingIdentity(
        architecture=architecture,
        optimization=recipe.pretraining.optimization,
        steps=STEPS,
        batch_tokens=ROWS_PER_STEP * LENGTH,
        precision="fp32",
        seed=1,
        direction="forward",
        stream_shards=GROUPS,
        first_step=0,
        end_step=STEPS,
        use_rope=True,
    )
    inputs = {f"group-{number:03d}": group for number, group in enumerate(groups)}
    observed = {"tokenizer": tokenizer_stage(recipe), "validation": first}
    return Stage(StageKind.PRETRAIN, "streamed", identity, inputs, observed), groups


def packed(folder: Path, rows: np.ndarray) -> Mapping[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with RowsWriter(folder, "rows", rows.shape[1], VOCABULARY) as writer:
        writer.append(rows)
    return {name: (folder / name).read_bytes() for name in ("rows.bin", "rows.json")}


def fill(store: Store, scratch: Path) -> None:
    """Commit everything that the stage needs."""
    stage, groups = stages()
    generator = np.random.default_rng(0)
    for need, count in [*((group, ROWS) for group in groups), (stage.observed["validation"], 4)]:
        rows = generator.integers(0, VOCABULARY, (count, LENGTH + 1))
        commit_files(store, need, packed(scratch, rows), rows=count)
    np.save(scratch / "token_bytes.npy", np.ones(VOCABULARY, dtype=np.int32))
    token_bytes = {"token_bytes.npy": (scratch / "token_bytes.npy").read_bytes()}
    commit_files(store, stage.observed["tokenizer"], token_bytes)


def train(store_url: str, launcher: Launcher) -> Manifest:
    stage, _ = stages()
    settings = replace(settings_from_environment(), store_url=store_url)
    display = LineDisplay(logging.getLogger("streamed"))
    return perform(
        Assignment(stage=stage, settings=settings, launcher=launcher, title="pretrain", display=display)
    ).manifest


@pytest.fixture
def proxy(s3_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to the bucket, and a machine of its own: its cache has room for two groups and a little more."""
    with running_proxy(s3_server.endpoint) as server:
        environment = {**s3_server.environment(), "AWS_ENDPOINT_URL": server.endpoint, "OMP_NUM_THREADS": "1"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MINISERIES_PROCESSES", "2")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("MINISERIES_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("MINISERIES_CACHE_GB", f"{LIMIT / 1e9:.9f}")
        yield server


def test_two_ranks_share_what_they_stream_and_end_with_the_bits_of_a_local_run(proxy: Proxy, tmp_path: Path) -> None:
    fill(Store.open(str(tmp_path / "store"), tmp_path / "packer"), tmp_path / "scratch")
    local = train(str(tmp_path / "store"), Launcher.TORCHRUN)

    url, sizes = f"s3://miniseries/{uuid.uuid4().hex}", []
    fill(Store.open(url, tmp_path / "packer"), tmp_path / "scratch")

    def watch(size: int) -> None:
        places = [path for place in ("artifacts", "arriving") for path in tmp_path.glob(f"cache/*/{place}/*/*/*/*")]
        sizes.append(sum(path.stat().st_size for path in places) + size)

    proxy.downloads.clear()
    proxy.on_download = watch
    streamed = train(url, Launcher.TORCHRUN)
    for name in ("model.safetensors", "optimizer.safetensors", "loss.jsonl"):
        assert sha256(streamed, name) == sha256(local, name)
    assert 2 * GROUP_BYTES < max(sizes) <= LIMIT
    groups = [path for path in proxy.downloads if "streamed-" in path and path.endswith("rows.bin")]
    assert len(groups) == GROUPS + 1, "one visit each and the first again, for both ranks together"


def sha256(manifest: Manifest, name: str) -> str:
    (found,) = [file.sha256 for file in manifest.files if file.path == name]
    return found


def test_a_group_whose_rows_are_missing_in_the_bucket_is_named_and_will_be_made_again(
    proxy: Proxy, tmp_path: Path
) -> None:
    url = f"s3://miniseries/{uuid.uuid4().hex}"
    store = Store.open(url, tmp_path / "packer")
    fill(store, tmp_path / "scratch")
    address = stages()[1][2].address
    manifest = store.manifest(address)
    assert manifest is not None
    store._storage.delete([f"{address.folder}/files/{manifest.attempt}/rows.bin"])
    with pytest.raises(StageFailed) as raised:
        train(url, Launcher.PROCESS)
    for words in (address.folder, "rows.bin: the file is missing", "the next `miniseries run` makes it again"):
        assert words in str(raised.value)
    assert store.whole_manifest(address) is None
