"""Where cases take place: a store with everything but the stages that they are about, servers, small disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from artifacts.store import Store
from benchmarks.crash_matrix.case import Case
from benchmarks.crash_matrix.fault import DISK, FOLDER, PREFECT, RUNS, STORE
from benchmarks.crash_matrix.judge import manifests, weights
from benchmarks.crash_matrix.pools import deploy
from benchmarks.crash_matrix.scene import COMMAND, PROGRAM, ROOT, Scene, send
from benchmarks.crash_matrix.servers import BUCKET, copy_database, s3_server, start_prefect

INJECTION = Path(__file__).parent / "injection"
UNDER_FIRE = ("recalibrate", "export_native")  # stages that every case has yet to make


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What all cases share."""

    folder: Path
    store: Path  # everything but the stages under fire
    undisturbed: Mapping[str, str]  # artifact folder -> sha256 of its weights
    api: str  # PREFECT_API_URL of the server that cases share
    database: Path  # folder with the database of a server that has pools and deployments


def prepare(folder: Path) -> Prepared:
    """Make everything once, nothing happening to it; cases begin without the stages that they are about."""
    deployed = start_prefect(folder / "deployed")
    deploy(deployed.api)
    deployed.stop()
    copy_database(deployed.home, folder / "prefect")
    api = start_prefect(folder / "prefect").api
    undisturbed, store = folder / "undisturbed", folder / "prepared"
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM, *COMMAND],
        cwd=ROOT,
        env={**environment_of(api, str(undisturbed), {}), "HOME": str(folder / "home")},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the undisturbed run failed: {done.stderr}")
    shutil.copytree(undisturbed, store, ignore=lambda within, names: UNDER_FIRE if Path(within) == undisturbed else ())
    trained = weights(Store.open(str(undisturbed), folder / "judge"))
    return Prepared(folder=folder, store=store, undisturbed=trained, api=api, database=deployed.home)


@contextmanager
def scene_of(case: Case, prepared: Prepared, folder: Path) -> Iterator[Scene]:
    """A case about to begin in `folder`; in the end its processes and servers go."""
    with ExitStack() as stack:
        copy_database(prepared.database, folder / "prefect")
        prefect = None if case.prefect != "own" else start_prefect(folder / "prefect")
        api = {"shared": prepared.api, "embedded": None}.get(case.prefect, prefect.api if prefect else None)
        s3 = stack.enter_context(s3_server(folder / "s3.log")) if case.store == "s3" else None
        small = folder / "small"
        if case.small_disk:
            stack.enter_context(_small_disk(small))
        local = small / "store" if case.small_disk == "store" else folder / "store"
        if s3 is None:
            shutil.copytree(prepared.store, local)
        else:
            s3.put_folder(prepared.store, "store")
        url = str(local) if s3 is None else f"s3://{BUCKET}/store"
        environment = environment_of(api, url, s3.environment() if s3 else {})
        environment |= {
            FOLDER: str(folder),
            RUNS: "1" if case.pool == "gpu" else str(case.runs),  # who wants a GPU job waits for it, not for a lease
            **case.fault.environment(),
            "MINISERIES_LEASE_SECONDS": str(case.lease_seconds),
            **({"XDG_CACHE_HOME": str(small / "cache"), "TMPDIR": str(folder)} if case.small_disk == "cache" else {}),
            **({DISK: str(small)} if case.small_disk else {}),
            **({"MINISERIES_DISPATCH": "deployment"} if case.pool == "gpu" else {}),
            **({PREFECT: str(prefect.process.pid)} if prefect else {}),
            **({STORE: str(s3.process.pid)} if s3 else {}),
        }
        scene = Scene(
            case=case,
            folder=folder,
            environment=environment,
            store=local,
            before=manifests(Store.open(str(prepared.store), folder / "judge")),
            prefect=prefect,
            s3=s3,
        )
        try:
            if case.pool:
                scene.start_worker()
            yield scene
        finally:
            for process in scene.processes():
                send(process, signal.SIGKILL)
            if scene.prefect is not None:
                scene.prefect.end()


def environment_of(api: str | None, store: str, more: Mapping[str, str]) -> dict[str, str]:
    """Of a process of a case: nothing of ours but what is named here; a checkpoint after every step."""
    ours = ("MINISERIES_", "PREFECT_", "AWS_", "XDG_", "CRASH_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **inherited,
        **({"PREFECT_API_URL": api} if api else {}),
        "PYTHONPATH": os.pathsep.join((str(INJECTION), str(ROOT))),
        "MINISERIES_STORE": store,
        "MINISERIES_CHECKPOINT_SECONDS": "0.001",
        "OMP_NUM_THREADS": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # several start at once
        **more,
    }


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, in memory. Raises `NotPermitted` where mounting is not."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        raise NotPermitted("mounting a small disk is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class NotPermitted(Exception):
    """This machine does not allow what a case needs."""
