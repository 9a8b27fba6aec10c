"""The files of deploy/: what they say is complete and consistent. No cluster and no container engine is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values, find_placeholders

from flows.local.pools import COMMAND, ENVIRONMENT
from tasks.settings import GRACE_SECONDS

ROOT = Path(__file__).parents[1]
PREFECT_KILLS_AFTER = 30  # seconds from cancelling a flow run to killing it
# What prefect-kubernetes documents as a job configuration.
CONFIGURATION = {
    "annotations", "cluster_config", "command", "env", "job_manifest", "job_watch_timeout_seconds", "labels", "name",
    "namespace", "pod_watch_timeout_seconds", "stream_output",
}  # fmt: skip


@pytest.fixture
def template() -> dict[str, Any]:
    return dict(json.loads((ROOT / "deploy" / "kubernetes-base-job-template.json").read_text()))


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text()))


def rendered(template: dict[str, Any], **values: object) -> dict[str, Any]:
    """The Job of a run, as a worker fills the template in."""
    defaults = {
        name: variable["default"]
        for name, variable in template["variables"]["properties"].items()
        if variable.get("default") is not None
    }
    filled = apply_values(template["job_configuration"]["job_manifest"], {**defaults, **values}, remove_notset=True)
    assert isinstance(filled, dict)
    return filled


def test_every_placeholder_is_a_variable_and_every_variable_is_used(template: dict[str, Any]) -> None:
    used = {placeholder.name for placeholder in find_placeholders(json.dumps(template["job_configuration"]))}
    assert used == set(template["variables"]["properties"])
    assert set(template["job_configuration"]) == CONFIGURATION
    for variable in template["variables"]["properties"].values():
        assert {"title", "description"} <= set(variable)


def test_a_job_has_gpus_shared_memory_a_grace_above_ours_and_is_not_started_twice(template: dict[str, Any]) -> None:
    spec = rendered(template, image="registry.invalid/miniseries:1", gpus=8)["spec"]
    assert spec["backoffLimit"] == 0  # Prefect puts the run back into the queue; the cluster must not do so too
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > max(PREFECT_KILLS_AFTER, GRACE_SECONDS)
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
    memory = {volume["name"]: volume["emptyDir"].get("medium") for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: memory[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/dev/shm"] == "Memory"
    assert not find_placeholders(json.dumps(pod))


def test_kubernetes_knows_every_field_of_the_job(template: dict[str, Any]) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate.utils", reason="its 110 MB of schemas are not installed here")
    job = rendered(template, image="registry.invalid/miniseries:1", gpus=8)
    (container,) = job["spec"]["template"]["spec"]["containers"]  # the worker writes these two as Kubernetes wants them
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    container["args"] = container["args"].split()
    for version in kubernetes.all_versions():
        kubernetes.validate(job, version, strict=True)


def test_pods_are_supervised_and_heard_of_as_processes_are(template: dict[str, Any]) -> None:
    variables = template["variables"]["properties"]
    assert variables["command"]["default"] == COMMAND
    assert variables["env"]["default"] == ENVIRONMENT


def test_compose_waits_for_the_server_gives_gpus_to_one_worker_and_time_to_checkpoint(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, pool in (("cpu-worker", "cpu"), ("gpu-worker", "h100")):
        worker = services[name]
        assert worker["command"][:5] == ["miniseries", "up", "--foreground", "--pool", pool]
        assert worker["depends_on"]["server"] == {"condition": "service_healthy"}
        assert int(worker["stop_grace_period"].removesuffix("s")) > PREFECT_KILLS_AFTER
    (device,) = services["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert services["server"]["ports"] == ["127.0.0.1:4200:4200"]
    assert set(compose["volumes"]) == {
        mount.partition(":")[0] for service in services.values() for mount in service["volumes"]
    }


def test_no_secret_is_written_down_and_the_example_names_all_that_are_asked_for(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)", json.dumps(compose)))
    asked |= {name for name, value in compose["services"]["gpu-worker"]["environment"].items() if value is None}
    example = (ROOT / "deploy" / ".env.example").read_text()
    assert asked == set(re.findall(r"^(?:# )?(\w+)=", example, re.MULTILINE))


def test_the_image_has_every_package_of_the_project() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE))
    assert {"artifacts", "core", "tasks", "flows"} <= copied
