"""What a Prefect server keeps of a run that went through every stage, for people to look at."""

from __future__ import annotations

import json
import re
import urllib.request
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from running import Miniseries, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TRAINED = ("pretrain", "recalibrate", "sft", "long_sft")
LINK = re.compile(r"\[[^]]+]\(([^)]+)\)")


def artifacts(server: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """The artifacts of the Prefect server, the oldest first."""
    query = {"artifacts": filters, "sort": "CREATED_DESC"}
    request = urllib.request.Request(
        f"{server}/artifacts/filter", json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found[::-1]


def pages(server: str, store: Miniseries, manifest: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """All versions of the page `what` of an artifact in this store, the oldest first."""
    found = artifacts(server, {"key": {"like_": f"{what}-%-{manifest['key'][:8]}"}})
    return [page for page in found if f"[file://{store.store}/" in page["description"]]


def bar_beside(server: str, page: dict[str, Any]) -> dict[str, Any]:
    """The progress of the task run that has `page`."""
    (bar,) = artifacts(server, {"task_run_id": {"any_": [page["task_run_id"]]}, "type": {"any_": ["progress"]}})
    return bar


def files_of(store: Miniseries, manifest: dict[str, Any]) -> Path:
    folder = Path(store.store) / manifest["kind"] / f"{manifest['name']}-{manifest['key'][:12]}"
    return folder / "files" / manifest["attempt"]


def linked(page: dict[str, Any]) -> list[Path]:
    return [Path(unquote(urlsplit(url).path)) for url in LINK.findall(page["description"])]


def test_every_training_leaves_a_full_bar_and_its_curve_with_the_last_measurements(
    finished: Miniseries, prefect_server: str
) -> None:
    manifests = [manifest for kind in TRAINED for manifest in finished.manifests(kind)]
    assert len(manifests) == 5
    for manifest in manifests:
        page = pages(prefect_server, finished, manifest, "loss")[0]
        bar = bar_beside(prefect_server, page)
        steps = manifest["metrics"]["steps"]
        assert (bar["type"], bar["data"]) == ("progress", 100.0)
        assert bar["description"].startswith(f"{steps} of {steps} steps · loss {manifest['metrics']['final_loss']:.4f}")
        assert f"{manifest['metrics']['validation_bpb']:.4f}" in page["description"]
        assert f"| {manifest['metrics']['validation_bpb']:.4f} |" in page["data"]
        curve, *_ = re.findall(r"data:image/svg\+xml;base64,([^)]+)\)", page["data"])
        assert b"validation bits per byte" in b64decode(curve)
        folder, log = linked(page)
        assert (folder / "manifest.json").exists()
        assert "@measured" in log.read_text()
    (fork,) = finished.manifests("recalibrate")
    assert "RoPE was dropped" in pages(prefect_server, finished, fork, "loss")[0]["data"]


def test_evaluations_are_tables_also_of_a_run_that_found_them_in_the_store(
    finished: Miniseries, prefect_server: str
) -> None:
    evaluations = finished.manifests("evaluate")
    before = [len(pages(prefect_server, finished, manifest, "results")) for manifest in evaluations]
    finished.json("run", "micro_drope_50_long", "--json")
    for manifest, count in zip(evaluations, before, strict=True):
        shown = wait_until(
            lambda manifest=manifest, count=count: (
                (found := pages(prefect_server, finished, manifest, "results")) and len(found) > count and found
            )
        )
        evaluation = json.loads((files_of(finished, manifest) / "evaluation.json").read_text())
        missing = [one["what"] for one in evaluation["missing"]] + evaluation.get("examination", {}).get("missing", [])
        for page in (shown[0], shown[-1]):
            rows = json.loads(page["data"])
            assert page["type"] == "table"
            assert [(row["measurement"], row["value"]) for row in rows] == [
                *((name.replace("_", " "), round(one["value"], 4)) for name, one in evaluation["results"].items()),
                *((name, "missing") for name in missing),
            ]
        assert "cached" in shown[-1]["description"]


def test_exports_and_repositories_are_linked(finished: Miniseries, prefect_server: str) -> None:
    for manifest in (*finished.manifests("export_hf"), *finished.manifests("export_native")):
        page = pages(prefect_server, finished, manifest, "files")[0]
        assert str(files_of(finished, manifest)) in page["data"]
        assert (linked(page)[0] / "manifest.json").exists()
    (publication,) = finished.manifests("publish")
    page = pages(prefect_server, finished, publication, "repositories")[0]
    places = [Path(unquote(urlsplit(url).path)) for url in LINK.findall(page["data"])]
    assert len(places) == 4
    assert all(place.is_dir() for place in places)


def test_the_status_says_which_one_it_is_and_links_the_store_and_what_is_published(
    finished: Miniseries, prefect_server: str
) -> None:
    found = artifacts(prefect_server, {"key": {"any_": ["miniseries-status"]}})
    begins, ends, *_ = [page for page in found if f"[file://{finished.store}]" in page["description"]]
    stages = re.fullmatch(
        r"attempt 1 begins: 0 of (\d+) stages of micro_drope_50_long are there · store: .*", begins["description"]
    )
    assert stages
    assert "Published" not in begins["data"]
    assert ends["description"].startswith("complete: micro_drope_50_long · store: ")
    links = [Path(unquote(urlsplit(url).path)) for url in LINK.findall(ends["data"].partition("Published: ")[2])]
    assert len(links) == 4
    assert all(link.is_dir() for link in links)
