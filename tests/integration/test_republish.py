"""`miniseries republish` on a store from which a tag was published, with a Prefect server that keeps the report."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from running import ROOT, Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TAG = "micro_drope_50_long"
KEEP_TOKEN = "from prefect.blocks.system import Secret; Secret(value={!r}).save('hf-token', overwrite=True)"
SHOW_TOKEN = """\
from dataclasses import replace
from core.planning.catalogue import publication
from tasks.hub_token import hub_environment
stage = publication("tiny")
print(dict(hub_environment(stage)))
print(dict(hub_environment(replace(stage, identity=replace(stage.identity, destination="hub")))))
"""


def newest_report(server: str) -> dict[str, Any]:
    """The newest version of the report that the Prefect server shows."""
    wanted = {"artifacts": {"key": {"any_": ["republish"]}}, "sort": "CREATED_DESC", "limit": 1}
    request = urllib.request.Request(
        f"{server}/artifacts/filter", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        report: dict[str, Any] = json.load(answer)[0]
    return report


def test_damage_is_reported_then_corrected_and_then_all_is_current(
    finished: Miniseries, prefect_server: str, tmp_path: Path
) -> None:
    copy = finished.on_copy(tmp_path)
    (published,) = (tmp_path / "store" / "hub").glob(f"*/nanochat-{TAG}-hf-sft")
    weights = published / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    shown = copy.run("republish", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("current") == 3
    assert "model.safetensors has sha256" in shown.stdout
    assert weights.read_bytes() != content

    (tag,) = copy.json("republish", TAG, "--json")
    assert (tag["tag"], tag["error"]) == (TAG, "")
    *others, last = tag["repositories"]
    assert not any(other["corrected"] for other in others)
    assert (last["changed"], last["corrected"]) == (["model.safetensors"], True)
    assert weights.read_bytes() == content
    report = newest_report(prefect_server)
    assert report["description"].startswith("4 repositories, 3 current, 1 with findings, 1 corrected")
    assert "model.safetensors has sha256" in report["data"]

    (again,) = copy.json("republish", "--json")
    assert not any(found["changed"] or found["findings"] or found["corrected"] for found in again["repositories"])


def test_a_tag_that_was_never_made_does_not_keep_the_others_from_being_looked_at(
    finished: Miniseries, tmp_path: Path
) -> None:
    done = finished.on_copy(tmp_path).run("republish", "micro_drope_25", TAG, "--json", "--dry-run")
    assert done.returncode == 1
    never, looked_at = json.loads(done.stdout)
    assert "run `miniseries run micro_drope_25`" in never["error"]
    assert len(looked_at["repositories"]) == 4
    assert done.stderr.count("\n") == 1


def test_a_token_kept_in_prefect_reaches_only_the_process_that_publishes_to_the_hub(
    prefect_server: str, miniseries: Miniseries
) -> None:
    environment = miniseries.environment_for({"PREFECT_API_URL": prefect_server})
    environment = {name: value for name, value in environment.items() if not name.startswith(("HF_", "HUGGING"))}

    def told(program: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert told(SHOW_TOKEN) == "{}\n{}\n"
    told(KEEP_TOKEN.format("hf_from_a_block"))
    assert told(SHOW_TOKEN) == "{}\n{'HF_TOKEN': 'hf_from_a_block'}\n"
    environment["HF_TOKEN"] = "hf_of_ours"
    assert told(SHOW_TOKEN) == "{}\n{}\n"
