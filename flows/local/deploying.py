"""Deploying everything of prefect.yaml, from the checkout that this command belongs to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

import flows
from flows.local.environment import QUIET
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.server import last_line

CHECKOUT = Path(flows.__path__[0]).parent
FILE = "prefect.yaml"


def deployments() -> int:
    """How many there are. Raises `InstallationError` where there is no checkout, or its file is not as it should be."""
    try:
        return len(yaml.safe_load(_file().read_text(encoding="utf-8"))["deployments"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise InstallationError(
            f"{_file()} lists no deployments ({error}); `python -m flows.deployments > {FILE}` writes it anew"
        ) from error


def deploy(folder: InstallationFolder, api_url: str) -> None:
    """Deploy all of it; takes some seconds. Raises `InstallationError` with the end of the log when it fails."""
    log = folder.log("deploy")
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


def deployed_fingerprint(api_url: str, database: str) -> str:
    """Of what a deployment consists of: when it is the same, there is nothing to deploy again."""
    parts = (api_url, database, str(CHECKOUT), version("prefect"), _file().read_text(encoding="utf-8"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _file() -> Path:
    path = CHECKOUT / FILE
    if not path.is_file():
        raise InstallationError(
            f"there is no {FILE} in {CHECKOUT}: deployments are run from a checkout; clone it and `make setup` there"
        )
    return path
