"""Calibration for real: a child process trains a few steps, and plans use what it measured."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch
from running import Miniseries, find_descendant, wait_until

pytestmark = pytest.mark.slow


def test_a_measured_speed_is_kept_and_used_by_plans_and_compared_with_what_runs_took(miniseries: Miniseries) -> None:
    before = miniseries.json("plan", "micro_long", "--json")
    assert before["estimate"]["basis"] == "assumed"
    records = miniseries.json("calibrate", "micro_long", "--steps", "2", "--json")
    assert [record["architecture"]["sequence_length"] for record in records] == [64, 256, 512]
    assert all(record["tokens_per_second"] > 0 for record in records)
    assert all(record["numerics"]["torch"] for record in records)
    after = miniseries.json("plan", "micro_long", "--json")
    assert after["estimate"]["basis"] == "measured"
    assert after["estimate"]["device"] == records[0]["device"]
    first = next(stage for stage in after["stages"] if stage["kind"] == "pretrain")
    assert first["gpu_hours"] == pytest.approx(first["tokens"] / records[0]["tokens_per_second"] / 3600)

    done = miniseries.run("run", "micro_drope_25")
    assert done.returncode == 0, done.stderr
    assert re.search(r"training took [\d.]+ s of one device, .* estimated \(measured speed\)", done.stdout)
    for kind in ("pretrain", "recalibrate"):
        (manifest,) = miniseries.manifests(kind)
        expected = manifest["metrics"]["tokens"] / records[0]["tokens_per_second"]
        assert manifest["metrics"]["estimated_device_seconds"] == pytest.approx(expected, abs=0.001)
        assert manifest["metrics"]["estimate_basis"] == "measured"
    (tokenizer,) = miniseries.manifests("tokenizer")
    assert "estimated_device_seconds" not in tokenizer["metrics"]
    shown = miniseries.run("show", "micro_drope_25", "recalibrate").stdout
    assert re.search(r"took [\d.]+ s of one device, .* estimated \(measured speed\)", shown)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, which may take it")
def test_a_full_size_model_is_refused_on_a_processor_in_one_line(miniseries: Miniseries) -> None:
    refused = miniseries.run("calibrate", "d20_40tpp", "--steps", "1", "--json")
    assert refused.returncode == 1
    assert refused.stdout == ""
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("miniseries: calibrate 20 layers of 1,280, fp8, rows of 4,096:")
    assert "calibrate on a GPU" in last
    assert not (Path(miniseries.store) / "calibration").exists()


def test_ctrl_c_ends_the_probe_and_keeps_nothing_of_it(miniseries: Miniseries) -> None:
    process = miniseries.start("calibrate", "micro", "--steps", "1000000")
    probe = wait_until(lambda: find_descendant(process, "core.training.probe"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, errors
    assert "stopped by SIGINT" in errors
    assert not probe.is_running()
    assert not (Path(miniseries.store) / "calibration").exists()
