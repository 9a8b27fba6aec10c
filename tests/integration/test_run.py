"""`miniseries run` through Prefect: what it tries again by itself, how it stops, and how it says what went wrong."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from running import Miniseries, find_descendant, wait_until
from s3_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]


def test_a_stage_whose_process_was_killed_is_tried_again_and_sigterm_stops_the_run(
    miniseries: Miniseries, prefect_server: str
) -> None:
    process = miniseries.start("run", "micro", PREFECT_API_URL=prefect_server)
    wait_until(lambda: find_descendant(process, "core.stages")).kill()
    wait_until(lambda: miniseries.manifests("corpus"))
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-1].startswith("miniseries: stopped by SIGTERM")
    assert "Traceback" not in output + errors
    assert "collect corpus python-docs-00000-00009" in output
    assert output.count("failed in") == 1
    assert "trying again after: corpus/" in output
    assert not miniseries.manifests("publish")


def test_a_stage_that_cannot_be_made_is_one_line_through_prefect(finished: Miniseries, tmp_path: Path) -> None:
    store = finished.on_copy(tmp_path)
    shutil.rmtree(Path(store.store) / "publish")
    (tmp_path / "file").write_text("in the way")
    hub = f"file://{tmp_path}/file/hub"
    done = store.run("run", "micro_drope_50_long", MINISERIES_HUB=hub, HOME=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert str(tmp_path / "file") in done.stderr.splitlines()[-1]
    assert not store.manifests("publish")


def test_a_prefect_server_that_does_not_answer_is_named(miniseries: Miniseries) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = miniseries.run("run", "micro", PREFECT_API_URL=url)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"PREFECT_API_URL={url} gives no answer" in done.stderr


def test_verify_of_a_tag_lists_a_manifest_that_cannot_be_read(finished: Miniseries, tmp_path: Path) -> None:
    store = finished.on_copy(tmp_path)
    (manifest,) = (Path(store.store) / "tokenizer").glob("*/manifest.json")
    manifest.write_text(manifest.read_text()[:100])
    assert store.json("status", "micro_drope_50_long", "--json")
    done = store.run("verify", "micro_drope_50_long")
    assert done.returncode == 1
    assert f"damaged: tokenizer/{manifest.parent.name}: manifest.json" in done.stdout
