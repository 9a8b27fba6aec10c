"""Settings of a run that are nobody's identity: where artifacts live, how many ranks, how often to checkpoint.

Read from the environment, because the same values must reach the command line, a Prefect worker and a GPU node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from artifacts.errors import StoreError
from artifacts.store import Store
from core.stages.runtime import Runtime

LEASE_SECONDS = 120.0
CHECKPOINT_SECONDS = 600.0
GRACE_SECONDS = 25.0  # below the 30 s after which Prefect's worker kills a cancelled flow


class SettingsError(StoreError):
    """An environment variable that cannot be used: says which, its value and what would do."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run's settings, resolved."""

    store_url: str | None  # None: the default local folder
    lease_seconds: float
    grace_seconds: float
    runtime: Runtime

    def open_store(self) -> Store:
        """The store of this run."""
        return Store.open(self.store_url)


def settings_from_environment() -> RunSettings:
    """Resolve MINISERIES_STORE, _PROCESSES, _MICRO_BATCH, _{CHECKPOINT,LEASE,GRACE}_SECONDS, _HUB."""
    store_url = os.environ.get("MINISERIES_STORE") or None
    return RunSettings(
        store_url=store_url,
        lease_seconds=_seconds("MINISERIES_LEASE_SECONDS", LEASE_SECONDS),
        grace_seconds=_seconds("MINISERIES_GRACE_SECONDS", GRACE_SECONDS),
        runtime=Runtime(
            processes=_count("MINISERIES_PROCESSES") or max(1, gpu_count()),
            micro_batch_rows=_count("MINISERIES_MICRO_BATCH"),
            checkpoint_seconds=_seconds("MINISERIES_CHECKPOINT_SECONDS", CHECKPOINT_SECONDS),
            publication_url=os.environ.get("MINISERIES_HUB") or f"{Store.open(store_url).url}/hub",
        ),
    )


@cache
def gpu_count() -> int:
    """GPUs that the driver lists; 0 without a driver. Asked without importing torch, which takes seconds."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else 0


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}={text!r} is no time; set seconds above 0, or unset it (default {default:g})")
    return value


def _count(name: str) -> int | None:
    """None when it is unset: the program chooses."""
    text = os.environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise SettingsError(f"{name}={text!r} is no count; set a whole number of at least 1, or unset it")
    return int(text) if text else None
