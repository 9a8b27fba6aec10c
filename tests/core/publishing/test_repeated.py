"""Publishing in real processes to a Hub that fails on a schedule, killed in between, and done again."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hub_server
import pytest

from artifacts.encoding import canonical
from core.stages.identity import PublishIdentity
from core.stages.kind import StageKind
from core.stages.runtime import Runtime
from core.stages.specification import Specification, read_outcomes

TAG = "tiny_drope_50_long"
REPOSITORIES = [f"lab/nanochat-{TAG}-{kind}" for kind in ("base", "hf-base", "sft", "hf-sft")]
NOW = {"Retry-After": "0"}
SCHEDULE = [
    hub_server.Fault("POST /api/repos/create", 503, NOW),
    hub_server.Fault("GET .*/refs", 500, NOW),
    hub_server.Fault("POST .*/lfs/objects/batch", 500),
    hub_server.Fault("POST .*_long-base/commit/", hub_server.LOST_ANSWER),
    hub_server.Fault("POST .*-hf-base/commit/", 429, NOW),
    hub_server.Fault("POST .*_long-sft/commit/", 412, NOW),
    hub_server.Fault("POST .*_long-sft/tag/", hub_server.NO_TALK),
    hub_server.Fault("POST .*-hf-sft/commit/", 502, NOW),
    hub_server.Fault("PUT .*/settings", 504, NOW),
    hub_server.Fault("POST /api/collections$", hub_server.LOST_ANSWER),
    hub_server.Fault("POST /api/collections/.*/items", 500, NOW),
]


@dataclass
class Publisher:
    """Runs the publish stage as the pipeline does: a process of its own, told by a specification."""

    root: Path
    inputs: dict[str, Path]
    server: Any
    runs: int = 0

    def run(self, kill_at: Callable[[str], bool] = lambda request: False) -> int:
        """Publish; SIGKILL the process once the Hub has done, but not answered, the first request that says so."""
        self.runs += 1
        folder = self.root / f"run-{self.runs}"
        folder.mkdir()
        self._specification(folder).write(folder / "specification.json")
        environment = {
            **os.environ,
            "HF_ENDPOINT": self.server.url,
            "HF_TOKEN": hub_server.WRITE_TOKEN,
            "HF_HOME": str(self.root / "hf-home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        command = [sys.executable, "-m", "core.stages", str(folder / "specification.json")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:

            def watch(request: str) -> None:
                if kill_at(request):
                    self.server.watch = None
                    os.kill(child.pid, signal.SIGKILL)

            self.server.watch = watch
            said, _ = child.communicate()
        self.server.watch = None
        assert hub_server.WRITE_TOKEN.encode() not in said
        (folder / "said").write_bytes(said)
        return child.returncode

    @property
    def outcome(self) -> Any:
        """How the last run ended, in its own words."""
        return read_outcomes(self.root / f"run-{self.runs}")[0]

    @property
    def receipt(self) -> Any:
        """What the last run made."""
        return json.loads((self.root / f"run-{self.runs}" / "output" / "receipt.json").read_bytes())

    def _specification(self, folder: Path) -> Specification:
        identity = PublishIdentity(
            tag=TAG, namespace="lab", visibility="public", collection="Tiny series", destination="hub"
        )
        plain = canonical(identity)
        assert isinstance(plain, dict)
        return Specification(
            kind=StageKind.PUBLISH,
            name=TAG,
            key="0" * 64,
            identity=plain,
            inputs={role: str(path) for role, path in self.inputs.items()},
            output=str(folder / "output"),
            scratch=str(folder / "scratch"),
            store=(self.root / "store").as_uri(),
            token=1,
            runtime=Runtime(),
        )


@pytest.fixture
def publisher(stage: Any, hub: Any, tmp_path: Path) -> Publisher:
    return Publisher(tmp_path, stage.inputs, hub)


def state(hub: Any) -> Any:
    """Everything that publishing can change."""
    return copy.deepcopy((hub.repositories, hub.collections))


def test_a_hub_that_fails_and_a_publisher_killed_twice_end_in_one_commit_each(publisher: Publisher, hub: Any) -> None:
    hub.faults = list(SCHEDULE)

    killed_in_a_commit = publisher.run(lambda request: request.endswith("-hf-base/commit/main"))
    assert killed_in_a_commit == -signal.SIGKILL
    assert list(hub.repositories) == REPOSITORIES[:2]
    assert all(repository.private for repository in hub.repositories.values())

    killed_between_repositories = publisher.run(
        lambda request: request == "POST /api/repos/create" and len(hub.repositories) == 4
    )
    assert killed_between_repositories == -signal.SIGKILL
    assert len(hub.repositories[REPOSITORIES[3]].revisions) == 1
    assert all(repository.private for repository in hub.repositories.values())

    assert publisher.run() == 0, publisher.outcome
    assert hub.faults == []
    for repository in hub.repositories.values():
        assert len(repository.revisions) == 2  # what the Hub begins with, and ours
        assert repository.tags == {"v1": repository.sha}
        assert not repository.private
    (collection,) = hub.collections.values()
    assert [item["id"] for item in collection["items"]] == REPOSITORIES

    complete, first = state(hub), publisher.receipt
    assert publisher.run() == 0
    assert (state(hub), publisher.receipt) == (complete, first)
    assert publisher.outcome.metrics["files_written"] == 0

    evaluation = publisher.inputs["evaluation-sft"] / "evaluation.json"
    evaluation.write_text(evaluation.read_text().replace("2.0625", "1.9375"))
    hub.requests.clear()
    assert publisher.run() == 0
    before, _ = complete
    changed = {
        (name, path)
        for name, repository in hub.repositories.items()
        for path, content in repository.files.items()
        if before[name].files.get(path) != content
    }
    cards = {".miniseries.json", "README.md", "evaluation.json"}
    assert changed == {(name, path) for name in REPOSITORIES[2:] for path in cards}
    assert [len(repository.revisions) for repository in hub.repositories.values()] == [2, 2, 3, 3]
    assert hub.repositories[REPOSITORIES[2]].tags.keys() == {"v1", "v2"}
    assert not [request for request in hub.requests if request.startswith("PUT")]


def test_a_hub_that_stays_away_leaves_a_stage_that_is_worth_another_try(publisher: Publisher, hub: Any) -> None:
    hub.faults = [hub_server.Fault("POST /api/repos/create", 503, NOW) for _ in range(6)]
    assert publisher.run() != 0
    assert publisher.outcome.status == "interrupted"
    assert "answered 503" in publisher.outcome.error
