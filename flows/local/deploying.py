"""Deploying everything of prefect.yaml, from the checkout that this command belongs to, when the server has not got it.

It leaves what `prefect deploy --all` leaves, with one request for a deployment instead of ten, each by its own client.
What was deployed last is written down where it holds: in a variable of the server. So neither `up` after `down` nor a
second machine deploys again what is there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import flows
from flows.local.folder import InstallationError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.responses import DeploymentResponse

CHECKOUT = Path(flows.__path__[0]).parent
FILE = "prefect.yaml"
TYPES = "flows/parameters.py"  # of the flows' parameters
TAG = "miniseries"
VARIABLE = "miniseries_deployed"
PAGE = 200  # deployments that the server tells at once
WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
KEYS = {
    *("name", "description", "entrypoint", "tags", "parameters", "work_pool", "schedules"),
    *("work_pool.name", "work_pool.job_variables", "schedules.cron", "schedules.timezone", "schedules.slug"),
}


Entry = dict[str, Any]


def deployments() -> int:
    """How many there are. Raises `InstallationError` where there is no checkout, or its file is not as it should be."""
    return len(_entries())


def is_deployed(client: SyncPrefectClient) -> bool:
    """Whether the server has all of it, as it is now."""
    variable = client.read_variable_by_name(VARIABLE)
    if variable is None or variable.value != _fingerprint():
        return False
    return len(_deployed(client)) >= deployments()


def deploy(client: SyncPrefectClient) -> None:
    """Deploy all of it; a schedule that somebody switched off stays so."""
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate
    from prefect.exceptions import ObjectAlreadyExists

    off = _schedules_off(_deployed(client))
    for entry in _entries():
        _deploy(client, entry, off)
    try:
        client.create_variable(VariableCreate(name=VARIABLE, value=_fingerprint()))
    except ObjectAlreadyExists:
        client.update_variable(VariableUpdate(name=VARIABLE, value=_fingerprint()))


def _deploy(client: SyncPrefectClient, entry: Entry, off: Collection[tuple[str, str]]) -> None:
    """Create or replace one; `{{ $NAME }}` in it is a variable of this environment, as for `prefect deploy`."""
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.templating import apply_values

    wanted = apply_values(entry, dict(os.environ), remove_notset=True)
    flow = _flow(wanted["entrypoint"])
    client.create_deployment(
        client.create_flow_from_name(flow.name),
        wanted["name"],
        version=flow.version,
        description=wanted["description"],
        tags=wanted["tags"],
        entrypoint=wanted["entrypoint"],
        parameters=wanted["parameters"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        work_pool_name=wanted["work_pool"]["name"],
        job_variables=wanted["work_pool"].get("job_variables", {}),
        pull_steps=[{WORKING_DIRECTORY: {"directory": str(CHECKOUT)}}],
        schedules=[
            _schedule(schedule, active=(wanted["name"], schedule["slug"]) not in off)
            for schedule in wanted.get("schedules", [])
        ],
    )


def _flow(entrypoint: str) -> Flow[..., Any]:
    file, _, name = entrypoint.partition(":")
    flow: Flow[..., Any] = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    return flow


def _schedule(wanted: dict[str, str], *, active: bool) -> DeploymentScheduleCreate:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    cron = CronSchedule(cron=wanted["cron"], timezone=wanted["timezone"])
    return DeploymentScheduleCreate(schedule=cron, active=active, slug=wanted["slug"])


def _deployed(client: SyncPrefectClient) -> list[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    return client.read_deployments(deployment_filter=ours, limit=PAGE)


def _schedules_off(there: Collection[DeploymentResponse]) -> set[tuple[str, str]]:
    """The deployment and the slug of each schedule that is not active."""
    return {
        (deployment.name, schedule.slug)
        for deployment in there
        for schedule in deployment.schedules
        if schedule.slug and not schedule.active
    }


def _entries() -> list[Entry]:
    """Those of the file, each with nothing that is not deployed here."""
    try:
        entries: list[Entry] = yaml.safe_load(_file().read_text(encoding="utf-8"))["deployments"]
        unknown = {key for entry in entries for key in _keys(entry)} - KEYS
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InstallationError(
            f"{_file()} lists no deployments ({error}); `python -m flows.deployments > {FILE}` writes it anew"
        ) from error
    if unknown:
        raise InstallationError(
            f"{_file()} has {', '.join(sorted(unknown))}, which `miniseries up` does not deploy; take that out, or run "
            "`prefect --no-prompt deploy --all` yourself"
        )
    return entries


def _keys(entry: Entry) -> set[str]:
    """Of the entry and what is in it: `work_pool.name`."""
    pool = {f"work_pool.{key}" for key in entry["work_pool"]}
    schedules = {f"schedules.{key}" for schedule in entry.get("schedules", []) for key in schedule}
    return entry.keys() | pool | schedules


def _fingerprint() -> str:
    """Of what a deployment consists of: where it runs, the file, and the flows whose parameters it describes."""
    files = sorted({entry["entrypoint"].partition(":")[0] for entry in _entries()})
    sources = [_file(), *(CHECKOUT / file for file in (*files, TYPES))]
    parts = [str(CHECKOUT), version("prefect"), *(source.read_text(encoding="utf-8") for source in sources)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _file() -> Path:
    path = CHECKOUT / FILE
    if not path.is_file():
        raise InstallationError(
            f"there is no {FILE} in {CHECKOUT}: deployments are run from a checkout; clone it and `make setup` there"
        )
    return path
