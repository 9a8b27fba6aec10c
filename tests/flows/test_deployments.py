"""prefect.yaml: Prefect accepts unknown keys and parameters silently, so they are checked here."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from core.recipes.table import chosen_family, recipes
from flows.deployments import prefect_yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENT_KEYS = {"name", "entrypoint", "tags", "description", "parameters", "work_pool"}


@pytest.fixture(scope="module")
def document() -> dict:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_the_committed_file_is_what_the_recipe_table_generates() -> None:
    assert (ROOT / "prefect.yaml").read_text() == prefect_yaml(), "run `make prefect.yaml` and commit the result"


def test_there_is_one_deployment_for_every_tag_named_with_dashes_and_one_for_all(document: dict) -> None:
    *tags, every, weekly = [entry["name"] for entry in document["deployments"]]
    assert tags == [tag.replace("_", "-") for tag in recipes()]
    assert (every, weekly) == ("all", "weekly")


def test_every_deployment_has_only_keys_that_prefect_reads_and_a_known_pool(document: dict) -> None:
    for entry in document["deployments"]:
        assert set(entry) - {"schedules"} == DEPLOYMENT_KEYS
        assert entry["work_pool"]["name"] in ("cpu", "h100")


def test_the_entrypoints_are_the_flows_and_take_the_parameters(document: dict) -> None:
    from flows.miniseries import miniseries
    from flows.pipeline import pipeline
    from flows.republish import republish

    *tags, every, weekly = document["deployments"]
    assert weekly["entrypoint"] == "flows/republish.py:republish"
    inspect.signature(republish.fn).bind(**weekly["parameters"])
    for entry in tags:
        assert entry["entrypoint"] == "flows/pipeline.py:pipeline"
        inspect.signature(pipeline.fn).bind(**entry["parameters"])
        assert entry["parameters"]["tag"] in recipes()
    assert every["entrypoint"] == "flows/miniseries.py:miniseries"
    inspect.signature(miniseries.fn).bind(**every["parameters"])
    assert every["parameters"]["tags"] == chosen_family()
    assert len(chosen_family()) == 20
    assert (pipeline.name, miniseries.name, republish.name) == ("pipeline", "miniseries", "republish")


def test_what_is_published_is_looked_after_on_a_schedule_that_prefect_understands(document: dict) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    scheduled = {entry["name"]: entry["schedules"] for entry in document["deployments"] if "schedules" in entry}
    ((name, (schedule,)),) = scheduled.items()
    assert name == "weekly"
    assert schedule.pop("slug") == "weekly"
    assert CronSchedule(**schedule).cron == "0 4 * * 1"


def test_the_server_of_the_pinned_versions_can_be_imported() -> None:
    """prefect 3.8.8 with fastapi 0.165 dies at import; a constraints file that brings that back must fail here."""
    import prefect.server.api.server as server

    assert callable(server.create_app)
