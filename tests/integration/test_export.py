"""`export`, `publish` and `verify REPO` on a finished store, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]
TAG = "micro_drope_50_long"


def test_an_export_is_copied_out_whole_and_says_what_it_is(finished: Miniseries, tmp_path: Path) -> None:
    target = tmp_path / "exported"
    told = finished.json("export", TAG, "--layout", "native", "--to", str(target), "--json")
    assert (told["path"], told["name"], told["layout"]) == (str(target), "micro_drope_50-long-sft", "native")
    assert {path.name: path.stat().st_size for path in target.iterdir()} == {
        file["path"]: file["bytes"] for file in told["files"]
    }
    (meta,) = target.glob("meta_*.json")
    assert json.loads(meta.read_text())["use_rope"] is False
    place = finished.json("export", TAG, "--phase", "base", "--json")["path"]
    assert place.startswith(finished.store)
    assert (Path(place) / "config.json").is_file()


def test_only_what_an_export_needs_is_made(finished: Miniseries, tmp_path: Path) -> None:
    copy = finished.on_copy(tmp_path)
    assert copy.json("export", "micro", "--phase", "base", "--json")["name"] == "micro-base"
    made = {manifest["name"] for kind in ("export_hf", "sft", "publish") for manifest in copy.manifests(kind)}
    assert {name for name in made if name.startswith("micro-") or name == "micro"} == {"micro-base"}


def test_a_tag_that_is_published_lists_its_repositories(finished: Miniseries) -> None:
    receipt = finished.json("publish", TAG, "--json")
    assert [repository["id"].rpartition("/")[2] for repository in receipt["repositories"]] == [
        f"nanochat-{TAG}-{suffix}" for suffix in ("base", "hf-base", "sft", "hf-sft")
    ]
    shown = finished.run("publish", TAG).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["published"] * 4


def test_the_hub_needs_a_yes(miniseries: Miniseries) -> None:
    done = miniseries.run("publish", "d18_9tpp")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "miniseries: d18_9tpp would be published as miniseries/nanochat-d18_9tpp-* on the Hugging Face Hub, private; "
        "say --yes to agree to that"
    ]


def test_published_repositories_verify_until_a_byte_changes(finished: Miniseries, tmp_path: Path) -> None:
    copy = finished.on_copy(tmp_path)
    repositories = sorted(str(path) for path in (Path(copy.store) / "hub").glob("*/nanochat-*"))
    assert len(repositories) == 4
    audits = copy.json("verify", *repositories, "--json")
    assert [audit["repository"] for audit in audits] == repositories
    assert [audit["findings"] for audit in audits] == [[]] * 4
    (weights,) = Path(repositories[0]).glob("model_*.pt")
    weights.write_bytes(weights.read_bytes()[:-1])
    done = copy.run("verify", *repositories)
    assert done.returncode == 1
    assert f"{weights.name}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("all as its index says")


def test_an_export_is_adopted_and_exported_again_as_it_was(finished: Miniseries, tmp_path: Path) -> None:
    copy, first, second = finished.on_copy(tmp_path), tmp_path / "first", tmp_path / "second"
    copy.json("export", TAG, "--layout", "native", "--to", str(first), "--json")
    adopted = copy.json("adopt", str(first), "--tag", "theirs", "--json")
    assert adopted["metrics"]["use_rope"] is False
    copy.json("export", "theirs", "--layout", "native", "--to", str(second), "--json")
    assert {path.name: path.read_bytes() for path in second.glob("*.p*")} == {
        path.name: path.read_bytes() for path in first.glob("*.p*")
    }
    hugging_face = copy.json("export", adopted["key"][:12], "--layout", "hf", "--json")
    assert (Path(hugging_face["path"]) / "certificate.json").is_file()
    refused = copy.run("adopt", str(tmp_path))
    assert refused.stderr.splitlines() == [
        f"miniseries: {tmp_path}: holds no model_<step>.pt; name the folder of one checkpoint of nanochat's layout"
    ]
