"""Several machines in one stage, played by processes of this one: c10d rendezvous, a torchrun agent for each, gloo."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from running import Miniseries, wait_until
from s3_server import free_port
from segment_hashes import segment_hashes

pytestmark = pytest.mark.slow


@pytest.fixture
def together(prepared: Miniseries, tmp_path: Path) -> Miniseries:
    """The command line of machines that are two together, with a store and a folder that both see."""
    return replace(
        prepared.on_copy(tmp_path),
        environment={
            "MINISERIES_NODES": "2",
            "MINISERIES_RENDEZVOUS": f"127.0.0.1:{free_port()}",
            "MINISERIES_CACHE": str(tmp_path / "shared"),
            "GLOO_SOCKET_IFNAME": "lo",
        },
    )


@contextmanager
def joining(together: Miniseries, number: signal.Signals) -> Iterator[None]:
    """Another machine takes part while the block runs, and ends by this signal."""
    process = together.start("join")
    try:
        yield
    finally:
        process.send_signal(number)
        process.communicate()


def test_two_machines_train_to_the_bits_of_two_ranks_on_one(
    together: Miniseries, prepared: Miniseries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = prepared.on_copy(tmp_path_factory.mktemp("alone"))
    alone.json("make", "micro_drope_25", "pretrain", MINISERIES_PROCESSES="2")
    with joining(together, signal.SIGTERM):
        done = together.run("make", "micro_drope_25", "pretrain")
    assert done.returncode == 0, done.stderr
    assert re.search(r"on each of them, once: miniseries join .*/shared/machines/127.0.0.1-\d+", done.stderr)
    assert segment_hashes(together) == segment_hashes(alone)
    assert together.manifests("pretrain")[0]["provenance"]["numerics"]["world_size"] == 2


def test_when_a_machine_is_lost_the_stage_ends_soon_and_can_be_resumed(together: Miniseries) -> None:
    with joining(together, signal.SIGKILL):
        first = together.start("make", "endless_drope_25", "pretrain", MINISERIES_CHECKPOINT_SECONDS="0.2")
        wait_until(together.checkpoint("pretrain"))
    _, errors = first.communicate()
    assert first.returncode == 1
    assert "run the same command again to continue from its last checkpoint" in errors.splitlines()[-1]
    plan = together.json("plan", "endless_drope_25", "--json")
    assert [stage["state"] for stage in plan["stages"] if stage["kind"] == "pretrain"] == ["resumable"]
