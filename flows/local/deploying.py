"""Deploying everything of prefect.yaml, from the checkout that this command belongs to, when the server has not got it.

What was deployed last is written down where it holds: in a variable of the server. So neither `up` after `down` nor a
second machine deploys again what is there, which takes some ten seconds.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import flows
from flows.local.environment import QUIET
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.server import last_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

CHECKOUT = Path(flows.__path__[0]).parent
FILE = "prefect.yaml"
TYPES = "flows/parameters.py"  # of the flows' parameters
TAG = "miniseries"
VARIABLE = "miniseries_deployed"
PAGE = 200  # deployments that the server tells at once


def deployments() -> int:
    """How many there are. Raises `InstallationError` where there is no checkout, or its file is not as it should be."""
    return len(_entrypoints())


def _entrypoints() -> list[str]:
    """`file:function` of each deployment."""
    try:
        return [entry["entrypoint"] for entry in yaml.safe_load(_file().read_text(encoding="utf-8"))["deployments"]]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise InstallationError(
            f"{_file()} lists no deployments ({error}); `python -m flows.deployments > {FILE}` writes it anew"
        ) from error


def is_deployed(client: SyncPrefectClient) -> bool:
    """Whether the server has all of it, as it is now."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    variable = client.read_variable_by_name(VARIABLE)
    if variable is None or variable.value != _fingerprint():
        return False
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    return len(client.read_deployments(deployment_filter=ours, limit=PAGE)) >= deployments()


def deploy(client: SyncPrefectClient, folder: InstallationFolder, api_url: str) -> None:
    """Deploy all of it; takes some seconds. Raises `InstallationError` with the end of the log when it fails."""
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate
    from prefect.exceptions import ObjectAlreadyExists

    _run_prefect_deploy(folder.log("deploy"), api_url)
    try:
        client.create_variable(VariableCreate(name=VARIABLE, value=_fingerprint()))
    except ObjectAlreadyExists:
        client.update_variable(VariableUpdate(name=VARIABLE, value=_fingerprint()))


def _run_prefect_deploy(log: Path, api_url: str) -> None:
    with log.open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=_file().parent,
            env={**os.environ, **QUIET, "PREFECT_API_URL": api_url},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise InstallationError(f"prefect deploy failed: {last_line(log)}")


def _fingerprint() -> str:
    """Of what a deployment consists of: where it runs, the file, and the flows whose parameters it describes."""
    files = sorted({entrypoint.partition(":")[0] for entrypoint in _entrypoints()})
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
