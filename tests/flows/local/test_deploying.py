"""What of prefect.yaml is deployed: all that is in it, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.local import deploying
from flows.local.folder import InstallationError

ENTRY = {
    "name": "tiny",
    "entrypoint": "flows/pipeline.py:pipeline",
    "description": "a model",
    "tags": ["miniseries"],
    "parameters": {"tag": "tiny"},
    "work_pool": {"name": "cpu"},
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(deploying, "CHECKOUT", tmp_path)
    return tmp_path


def write(checkout: Path, document: object) -> None:
    (checkout / "prefect.yaml").write_text(yaml.safe_dump(document))


def test_entries_are_counted(checkout: Path) -> None:
    write(checkout, {"deployments": [ENTRY, {**ENTRY, "name": "tiny-long"}]})
    assert deploying.deployments() == 2


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"concurrency_limit": 1}, "concurrency_limit"),
        ({"work_pool": {"name": "cpu", "work_queue_name": "slow"}}, "work_pool.work_queue_name"),
        ({"schedules": [{"interval": 60, "slug": "often"}]}, "schedules.interval"),
    ],
)
def test_what_would_not_be_deployed_is_refused_by_name(checkout: Path, more: dict[str, object], named: str) -> None:
    write(checkout, {"deployments": [{**ENTRY, **more}]})
    with pytest.raises(InstallationError, match=f"has {named}, which `miniseries up` does not deploy"):
        deploying.deployments()


@pytest.mark.parametrize("document", [None, {}, {"deployments": ["tiny"]}, {"deployments": [{"name": "tiny"}]}])
def test_a_file_without_deployments_is_one_line(checkout: Path, document: object) -> None:
    write(checkout, document)
    with pytest.raises(InstallationError, match=r"lists no deployments .* writes it anew"):
        deploying.deployments()


def test_without_a_checkout_it_is_said_how_to_get_one(checkout: Path) -> None:
    with pytest.raises(InstallationError, match="there is no prefect"):
        deploying.deployments()
