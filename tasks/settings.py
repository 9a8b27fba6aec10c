"""Settings of a run that are nobody's identity: where artifacts live, how many ranks, how often to checkpoint.

Read from the environment, because the same values must reach the command line, a Prefect worker and a GPU node.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from artifacts.errors import StoreError
from artifacts.store import Store
from core.stages.runtime import Kernels, Runtime
from tasks.devices import gpus_of_one
from tasks.dispatch.slurm_settings import SlurmSettings, slurm_from_environment
from tasks.machines import Machines, machines_from_environment
from tasks.pack_cluster import FORMS, PackCluster

LEASE_SECONDS = 120.0
CHECKPOINT_SECONDS = 600.0
GRACE_SECONDS = 25.0  # below the 30 s after which Prefect's worker kills a cancelled flow
DISPATCHED_JOBS = 64  # heavy stages handed over at once: what they are handed to has limits of its own

Dispatch = Literal["inline", "deployment", "slurm"]


class SettingsError(StoreError):
    """An environment variable that cannot be used: says which, its value and what would do."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run's settings, resolved."""

    store_url: str | None  # None: the default local folder
    lease_seconds: float
    grace_seconds: float
    dispatch: Dispatch  # where heavy stages are made: here, as runs of the deployment gpu-job/h100, as Slurm jobs
    gpu_jobs: int  # heavy stages that one flow run has under way at once
    packers: int | None  # shard groups that one flow run has packed at once; None: as many as suit where that is done
    pack_cluster: PackCluster | None  # that packs them; None: this machine
    runtime: Runtime
    machines: Machines | None = None  # that make one heavy stage together; None: this one alone
    slurm: SlurmSettings | None = None  # where heavy stages are Slurm jobs

    def open_store(self) -> Store:
        """The store of this run."""
        return Store.open(self.store_url)


def settings_from_environment() -> RunSettings:
    """Resolve MINISERIES_STORE, _PROCESSES, _MICRO_BATCH, _KERNELS, _{CHECKPOINT,LEASE,GRACE}_SECONDS, _DISPATCH,
    _NODES, _RENDEZVOUS, _GPU_JOBS, _SLURM_*, _PACKERS, _PACK_CLUSTER, _TRACK, _TRACK_FOLDER, _HUB.
    """
    store_url = os.environ.get("MINISERIES_STORE") or None
    dispatch = _dispatch()
    gpu_jobs = _count("MINISERIES_GPU_JOBS")
    grace_seconds = _seconds("MINISERIES_GRACE_SECONDS", GRACE_SECONDS)
    return RunSettings(
        store_url=store_url,
        lease_seconds=_seconds("MINISERIES_LEASE_SECONDS", LEASE_SECONDS),
        grace_seconds=grace_seconds,
        dispatch=dispatch,
        machines=machines_from_environment(gpu_jobs or 1) if dispatch == "inline" else None,
        slurm=slurm_from_environment(grace_seconds) if dispatch == "slurm" else None,
        gpu_jobs=gpu_jobs or (1 if dispatch == "inline" else DISPATCHED_JOBS),
        packers=_count("MINISERIES_PACKERS"),
        pack_cluster=_pack_cluster(),
        runtime=Runtime(
            processes=_processes(gpu_jobs or 1 if dispatch == "inline" else 1),
            micro_batch_rows=_count("MINISERIES_MICRO_BATCH"),
            checkpoint_seconds=_seconds("MINISERIES_CHECKPOINT_SECONDS", CHECKPOINT_SECONDS),
            kernels=_kernels(),
            trackers=tuple(name.strip() for name in os.environ.get("MINISERIES_TRACK", "").split(",") if name.strip()),
            tracking_folder=os.environ.get("MINISERIES_TRACK_FOLDER")
            or str(Path(platformdirs.user_data_dir("miniseries")) / "tracking"),
            publication_url=os.environ.get("MINISERIES_HUB") or f"{Store.open(store_url).url}/hub",
        ),
    )


def _dispatch() -> Dispatch:
    text = os.environ.get("MINISERIES_DISPATCH", "") or "inline"
    for dispatch in get_args(Dispatch):
        if text == dispatch:
            return dispatch  # type: ignore[no-any-return]
    raise SettingsError(
        f"MINISERIES_DISPATCH={text!r} is unknown; set {', '.join(get_args(Dispatch))}, or unset it (default inline)"
    )


def _processes(gpu_jobs: int) -> int:
    """Ranks of one stage: what is set, else one for each GPU of its share."""
    gpus = gpus_of_one(gpu_jobs)
    wanted = _count("MINISERIES_PROCESSES") or max(1, gpus)
    if gpu_jobs > 1 and gpus and wanted > gpus:
        raise SettingsError(
            f"MINISERIES_PROCESSES={wanted}, but with MINISERIES_GPU_JOBS={gpu_jobs} a stage gets {gpus} GPUs; "
            "lower one of them"
        )
    return wanted


def _pack_cluster() -> PackCluster | None:
    text = os.environ.get("MINISERIES_PACK_CLUSTER", "")
    try:
        return PackCluster.parse(text) if text else None
    except ValueError:
        raise SettingsError(
            f"MINISERIES_PACK_CLUSTER={text!r} names no cluster; set {FORMS}, without credentials, or unset it "
            "to pack on this machine"
        ) from None  # which could quote credentials


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}={text!r} is no time; set seconds above 0, or unset it (default {default:g})")
    return value


def _kernels() -> Kernels:
    match os.environ.get("MINISERIES_KERNELS", ""):
        case "" | "deterministic":
            return "deterministic"
        case "fastest":
            return "fastest"
        case text:
            raise SettingsError(f"MINISERIES_KERNELS={text!r} is unknown; set deterministic or fastest, or unset it")


def _count(name: str) -> int | None:
    """None when it is unset: the program chooses."""
    text = os.environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise SettingsError(f"{name}={text!r} is no count; set a whole number of at least 1, or unset it")
    return int(text) if text else None
