"""The same pipeline with its artifacts on S3: killed in the middle, resumed elsewhere, and the bits of a local run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from running import Miniseries, wait_until
from s3_server import Server

pytestmark = pytest.mark.slow


def keys(server: Server, prefix: str) -> list[str]:
    listed = server.client().list_objects_v2(Bucket="miniseries", Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def manifest(server: Server, prefix: str) -> dict[str, Any]:
    (key,) = [key for key in keys(server, prefix) if key.endswith("/manifest.json")]
    return json.loads(server.client().get_object(Bucket="miniseries", Key=key)["Body"].read())


def test_a_run_killed_on_one_machine_is_resumed_by_another_to_the_bits_of_a_local_one(
    s3_server: Server, tmp_path: Path
) -> None:
    quick = {"MINISERIES_CHECKPOINT_SECONDS": "0.2", "MINISERIES_LEASE_SECONDS": "6"}
    one, other = (
        Miniseries(tmp_path / name, "s3://miniseries/killed", {**s3_server.environment(), **quick})
        for name in ("one", "other")
    )
    process = one.start("make", "endless_drope_25", "pretrain")
    wait_until(lambda: [key for key in keys(s3_server, "killed/pretrain/") if key.endswith("checkpoint.json")])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    states = other.json("make", "endless_drope_25", "pretrain")
    assert sorted(states.values()) == ["cached"] * (len(states) - 1) + ["made"]

    local = Miniseries(tmp_path / "local", str(tmp_path / "store"))
    local.json("make", "endless_drope_25", "pretrain")
    (expected,) = local.manifests("pretrain")
    found = manifest(s3_server, "killed/pretrain/")
    for name in ("model.safetensors", "optimizer.safetensors", "loss.jsonl"):
        assert sha256(found, name) == sha256(expected, name)
    assert not [key for key in keys(s3_server, "killed/pretrain/") if "/progress/" in key]
    assert other.run("verify").returncode == 0


def sha256(manifest: dict[str, Any], name: str) -> str:
    (found,) = [file["sha256"] for file in manifest["files"] if file["path"] == name]
    return str(found)


def test_a_whole_model_is_published_to_a_bucket(s3_server: Server, tmp_path: Path) -> None:
    store = Miniseries(tmp_path, "s3://miniseries/whole", s3_server.environment())
    store.json("make", "micro_drope_25", "publish")
    published = {key.split("/")[3] for key in keys(s3_server, "whole/hub/miniseries/nanochat-")}
    assert published == {f"nanochat-micro_drope_25-{suffix}" for suffix in ("base", "sft", "hf-base", "hf-sft")}
