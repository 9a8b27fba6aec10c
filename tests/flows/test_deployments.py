"""prefect.yaml: Prefect accepts unknown keys, parameters and job variables silently, so they are checked here."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, RawScheduleConfig, WorkPoolConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import ValidationError, validate
from prefect.workers.process import ProcessWorker

from core.recipes.table import chosen_family, recipes
from flows.deployments import prefect_yaml

ROOT = Path(__file__).parents[2]
OURS = {"definitions"}  # where anchors are; Prefect's own examples use it, its models do not know it
SCHEDULED = {"republish/weekly": "0 4 * * 1", "maintenance/nightly": "30 3 * * *"}
DOCKER_VARIABLES = {"env", "container_create_kwargs"}  # of prefect-docker's template, which is not installed here
KUBERNETES_TEMPLATE = ROOT / "deploy" / "kubernetes-base-job-template.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())


@pytest.fixture(scope="module")
def deployments(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By the name that Prefect gives them: flow/deployment."""
    return {f"{flow_of(entry).name}/{entry['name']}": entry for entry in document["deployments"]}


def flow_of(entry: dict[str, Any]) -> Flow[..., Any]:
    """What the entrypoint of a deployment names."""
    path, _, name = entry["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    return flow


def known_to(model: Any) -> set[str]:
    """The keys that Prefect reads, as it writes them in YAML."""
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_committed_file_is_what_the_recipe_table_generates() -> None:
    assert (ROOT / "prefect.yaml").read_text() == prefect_yaml(), "run `make prefect.yaml` and commit the result"


def test_every_tag_has_a_pipeline_named_with_dashes_and_there_are_the_others(deployments: dict[str, Any]) -> None:
    pipelines = [f"pipeline/{tag.replace('_', '-')}" for tag in recipes()]
    assert list(deployments) == [*pipelines, "miniseries/all", "study/all", "gpu-job/h100", *SCHEDULED]


def test_there_are_only_keys_that_prefect_reads(document: dict[str, Any]) -> None:
    assert set(document) - OURS <= known_to(PrefectYamlModel)
    for entry in document["deployments"]:
        assert set(entry) <= known_to(DeploymentConfig)
        assert set(entry["work_pool"]) <= known_to(WorkPoolConfig)
        for schedule in entry.get("schedules", []):
            assert set(schedule) <= known_to(RawScheduleConfig)


def test_the_parameters_bind_to_the_flows_and_pass_the_schema_that_the_server_checks(
    deployments: dict[str, Any],
) -> None:
    for name, entry in deployments.items():
        flow, parameters = flow_of(entry), entry["parameters"]
        inspect.signature(flow.fn).bind_partial(**parameters)
        validate(parameters, parameter_schema(flow).model_dump(), ignore_required=True, raise_on_error=True)
        if name.startswith("pipeline/"):
            assert name.removeprefix("pipeline/").replace("-", "_") == parameters["tag"]
            assert entry["tags"] == ["miniseries", parameters["tag"]]
    assert deployments["miniseries/all"]["parameters"]["tags"] == chosen_family()
    assert len(chosen_family()) == 20


def test_the_run_form_offers_the_tags(deployments: dict[str, Any]) -> None:
    pipeline = parameter_schema(flow_of(deployments["pipeline/tiny"])).model_dump()
    tag = pipeline["properties"]["tag"]
    shown, dashed = tag["anyOf"]
    assert shown["enum"] == list(recipes())
    assert dashed["enum"] == [name.replace("_", "-") for name in recipes() if "_" in name]
    assert all(described["description"] for described in pipeline["properties"].values())
    miniseries = parameter_schema(flow_of(deployments["miniseries/all"])).model_dump()
    assert miniseries["properties"]["tags"]["items"]["enum"] == list(recipes())


def test_a_tag_is_accepted_in_both_spellings_and_a_refusal_lists_the_tags(deployments: dict[str, Any]) -> None:
    schema = parameter_schema(flow_of(deployments["pipeline/tiny"])).model_dump()
    for spelling in ("d20_40tpp", "d20-40tpp", "tiny"):
        validate({"tag": spelling}, schema, raise_on_error=True)
    with pytest.raises(ValidationError, match=r"'d20_40tp' is not one of .*'d20_40tpp'"):
        validate({"tag": "d20_40tp"}, schema, raise_on_error=True)


def test_only_heavy_stages_run_where_the_gpus_are_and_full_size_pipelines_hand_theirs_over(
    deployments: dict[str, Any],
) -> None:
    assert {name for name, entry in deployments.items() if entry["work_pool"]["name"] == "h100"} == {"gpu-job/h100"}
    assert {entry["work_pool"]["name"] for entry in deployments.values()} == {"cpu", "h100"}
    delegating = {"env": {"MINISERIES_DISPATCH": "deployment"}}
    for name, entry in deployments.items():
        is_full_size = name in ("miniseries/all", "study/all") or name.startswith("pipeline/d")
        assert (entry["work_pool"].get("job_variables") == delegating) == is_full_size


def test_the_job_variables_are_those_of_the_pools_templates(document: dict[str, Any]) -> None:
    definitions = document["definitions"]
    process = set(ProcessWorker.get_default_base_job_template()["variables"]["properties"])
    for entry in document["deployments"]:
        assert set(entry["work_pool"].get("job_variables", {})) <= process
    assert set(definitions["process"]) <= process
    assert set(definitions["docker"]) <= DOCKER_VARIABLES
    (request,) = definitions["docker"]["container_create_kwargs"]["device_requests"]
    assert request["Count"] == definitions["kubernetes"]["gpus"] == definitions["gpus"]
    for kind in ("process", "docker", "kubernetes"):
        environment = definitions[kind]["env"]
        assert all(isinstance(value, str) for value in environment.values())  # as the server's schema wants it
        assert environment["MINISERIES_DISPATCH"] == "inline"


@pytest.mark.skipif(not KUBERNETES_TEMPLATE.exists(), reason="there is no base job template for Kubernetes")
def test_the_kubernetes_variables_are_those_of_our_base_job_template(document: dict[str, Any]) -> None:
    properties = json.loads(KUBERNETES_TEMPLATE.read_text())["variables"]["properties"]
    assert set(document["definitions"]["kubernetes"]) <= set(properties)


def test_what_is_scheduled_is_scheduled_as_prefect_understands_it(deployments: dict[str, Any]) -> None:
    scheduled = {name: entry["schedules"] for name, entry in deployments.items() if "schedules" in entry}
    assert set(scheduled) == set(SCHEDULED)
    for name, (schedule,) in scheduled.items():
        assert schedule["slug"] == name.partition("/")[2]
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).cron == SCHEDULED[name]


def test_the_server_of_the_pinned_versions_can_be_imported() -> None:
    """prefect 3.8.8 with fastapi 0.165 dies at import; a constraints file that brings that back must fail here."""
    import prefect.server.api.server as server

    assert callable(server.create_app)
