"""A webhook is told how runs end; one that is away or no address harms nobody and is never quoted."""

from __future__ import annotations

import pytest
from running import Miniseries
from s3_server import free_port
from webhook import SECRET_PATH, receiving_webhook

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TAG = "micro_drope_50_long"


def test_a_run_that_completes_is_told_with_its_page_on_the_server(finished: Miniseries, prefect_server: str) -> None:
    with receiving_webhook() as there:
        done = finished.run("run", TAG, MINISERIES_WEBHOOK=there.url)
    assert done.returncode == 0, done.stderr
    (told,) = there.received
    assert (told["event"], told["flow"], told["tags"], told["run"]) == ("completed", "pipeline", [TAG], TAG)
    assert told["url"].startswith(f"{prefect_server.removesuffix('/api')}/runs/flow-run/")
    assert told["message"] == f"complete: {TAG}"
    assert told["store"] == f"file://{finished.store}"
    assert told["text"].startswith(f"✓ pipeline {TAG} completed after ")
    assert told["text"].endswith(f"complete: {TAG}\n{told['url']}")
    assert SECRET_PATH not in done.stdout + done.stderr


def test_without_a_server_it_is_told_too(finished: Miniseries) -> None:
    with receiving_webhook() as there:
        done = finished.run("run", TAG, MINISERIES_WEBHOOK=there.url, PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    (told,) = there.received
    assert (told["event"], told["url"], told["tags"]) == ("completed", None, [TAG])
    assert "everything was in the store" in told["message"]


def test_a_webhook_that_is_away_is_one_line_and_the_run_ends_well(finished: Miniseries) -> None:
    away = f"http://127.0.0.1:{free_port()}{SECRET_PATH}"
    done = finished.run("run", TAG, MINISERIES_WEBHOOK=away)
    assert done.returncode == 0, done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "webhook" in line]
    assert len(lines) == 1
    assert lines[0].endswith("the webhook at 127.0.0.1 was not told how the run ended: ConnectError")
    assert SECRET_PATH not in done.stdout + done.stderr


def test_what_is_no_web_address_is_one_line_at_the_start(finished: Miniseries) -> None:
    done = finished.run("run", TAG, MINISERIES_WEBHOOK=f"hooks.slack.com{SECRET_PATH}")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "MINISERIES_WEBHOOK is no web address" in done.stderr
    assert SECRET_PATH not in done.stdout + done.stderr
