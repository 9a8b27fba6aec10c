"""Bringing it all up: what is there is left alone, what is missing or died is started, and a failure leaves nothing.

Order: server, Prefect profile, pools, workers, deployments, automations. Whatever this call started is stopped again
when it fails or is interrupted; what an earlier one started goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import urlsplit

import psutil

from artifacts.process import Process
from flows.local.automations import install_automations
from flows.local.client import client_of
from flows.local.database import database_url, described
from flows.local.deploying import deploy, deployments, is_deployed
from flows.local.ending import abandoned, end_flow_runs, end_workers, put_back, supervisors
from flows.local.environment import fingerprint, worker_environment
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.pools import CPU, GPU, PoolFound, ensure_pools, pools
from flows.local.processes import end, lives
from flows.local.profile import activate_profile, profile_decides, restore_profile
from flows.local.record import Record, read_record, remove_record, write_record
from flows.local.server import (
    FIRST_PORT,
    Found,
    answers,
    await_server,
    find_server,
    last_line,
    named_server,
    start_server,
)
from flows.local.workers import Worker, await_workers, heartbeats, start_worker, worker_log, workers

WATCH_SECONDS = 0.5
GRACE_SECONDS = 10.0  # for our server, without runs
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asked for; None: as it comes."""

    port: int | None
    gpu_slots: int
    database: str | None
    pools: tuple[str, ...] = (CPU, GPU)  # which workers are to be here


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What is up."""

    record: Record
    pools: list[PoolFound]
    workers: list[Worker]
    started: list[str]  # `server` and the names of workers that this call started
    deployments: int
    automations: list[str]
    is_named: bool  # whether the plain `prefect` command of this shell finds the server
    has_other_settings: bool  # whether the workers were started with other settings than this shell's

    @property
    def ui_url(self) -> str:
        return self.record.api_url.removesuffix("/api")


def bring_up(folder: InstallationFolder, wanted: Wanted, store_url: str, say: Say) -> Installation:
    """Bring up what is missing, telling `say` what takes time. Raises `InstallationError`; then nothing was changed."""
    with ExitStack() as undo:
        before = read_record(folder)
        undo.callback(_restore_record, folder, before)
        record = _with_server(folder, before, wanted, say, undo)
        server_started = record.server is not None and record.server != (before and before.server)
        _put_back(folder, record, say)
        record, is_named = _with_profile(folder, record, undo)
        write_record(folder, record)
        installation = _with_the_rest(folder, record, wanted, store_url, say, undo)
        write_record(folder, installation.record)
        undo.pop_all()
    started = ["server"] * server_started + installation.started
    return replace(installation, started=started, is_named=is_named)


def watch(folder: InstallationFolder, record: Record) -> NoReturn:
    """Look on until something of it ends, and raise `InstallationError` with the end of its log."""
    while True:
        if record.server is not None and not lives(record.server, folder.mark):
            raise InstallationError(f"the server ended: {last_line(folder.log('server'))}")
        for name, process in record.workers.items():
            if not lives(process, folder.mark):
                raise InstallationError(f"the worker {name} ended: {last_line(worker_log(folder, name))}")
        time.sleep(WATCH_SECONDS)


def _with_server(
    folder: InstallationFolder, before: Record | None, wanted: Wanted, say: Say, undo: ExitStack
) -> Record:
    """The record with a server that answers; the same one as before where that lives."""
    named = named_server()
    url = database_url(wanted.database)
    if before and lives(before.server, folder.mark):
        _require_as_running(folder, before, named, wanted, url)
        return before
    is_our_profile = before is not None and before.profile is not None and before.api_url == named
    usual_port = (urlsplit(before.api_url).port if before else None) or FIRST_PORT
    if is_our_profile and named and not answers(named):
        named = None  # it is ours to change
    target = find_server(named, wanted.port, usual_port)
    if isinstance(target, Found):
        return _with_found(before, target, wanted)
    if before and before.server and url is None and before.database != described(None):
        raise InstallationError(
            f"our server, which ended, had the database {before.database}; give --database again, or `miniseries down` "
            "first to begin anew with SQLite"
        )
    say(f"server: starting on port {target.port} with {described(url)} (10 to 20 s)")
    process = start_server(folder, target.port, url)
    undo.callback(_end_server, process)
    record = replace(
        before or Record(api_url=target.api_url), api_url=target.api_url, server=process, database=described(url)
    )
    write_record(folder, record)
    await_server(folder, process, target.api_url)
    return record


def _with_found(before: Record | None, found: Found, wanted: Wanted) -> Record:
    if wanted.database:
        raise InstallationError(f"the server {found.api_url} runs already, with its database; leave --database out")
    if before and before.api_url == found.api_url:
        return replace(before, server=None, database="")
    if before and before.workers:
        raise InstallationError(
            f"workers of {before.api_url} are up; `miniseries down` first, then up at {found.api_url}"
        )
    return Record(api_url=found.api_url)


def _require_as_running(
    folder: InstallationFolder, record: Record, named: str | None, wanted: Wanted, url: str | None
) -> None:
    """Raise `InstallationError` when our server, which lives, is not as the user or the environment wants it."""
    if named not in (None, record.api_url):
        raise InstallationError(
            f"miniseries is up at {record.api_url}, but the environment or the active Prefect profile names {named}; "
            "unset that, or `miniseries down` first"
        )
    if wanted.port not in (None, urlsplit(record.api_url).port):
        raise InstallationError(f"miniseries is up at {record.api_url}; `miniseries down` first to change the port")
    if url is not None and described(url) != record.database:
        raise InstallationError(
            f"miniseries is up with the database {record.database}; for {described(url)}, `miniseries down` first"
        )
    if not answers(record.api_url):
        raise InstallationError(
            f"our server lives, but gives no answer at {record.api_url}; see {folder.log('server')}, "
            "or `miniseries down` and up again"
        )


def _with_profile(folder: InstallationFolder, record: Record, undo: ExitStack) -> tuple[Record, bool]:
    """The record with the Prefect profile that it needs, and whether the plain `prefect` command finds the server."""
    if named_server() == record.api_url:
        return record, True
    if not profile_decides():
        return record, False
    if record.profile is not None:
        restore_profile(folder, record.profile)
    change = activate_profile(folder, record.api_url)
    undo.callback(restore_profile, folder, change)
    return replace(record, profile=change), True


def _with_the_rest(
    folder: InstallationFolder, record: Record, wanted: Wanted, store_url: str, say: Say, undo: ExitStack
) -> Installation:
    """Pools, deployments, automations and workers."""
    own_server = record.server is not None
    environment = worker_environment(folder, record.api_url, store_url, own_server=own_server)
    with client_of(record.api_url) as client:
        found = ensure_pools(client, pools(wanted.gpu_slots), own_server=own_server)
        here = workers(found, wanted.pools, wanted.gpu_slots)
        kept = _kept(folder, record, here, wanted)
        missing = [worker for worker in here if worker.name not in kept]
        if missing:
            say(f"workers: starting {', '.join(worker.name for worker in missing)}")
        heard = heartbeats(client, missing)
        started: dict[Worker, Process] = {}
        undo.callback(_end_workers, folder, kept, started)
        for worker in missing:
            started[worker] = start_worker(folder, worker, environment)
        now = {**kept, **{worker.name: process for worker, process in started.items()}}
        settings = record.settings if kept else fingerprint(environment)
        record = replace(record, workers=now, settings=settings, gpu_slots=wanted.gpu_slots)
        write_record(folder, record)
        if not is_deployed(client):  # while the workers start
            say(f"deployments: {deployments()} from prefect.yaml")
            deploy(client)
        installed = install_automations(client)
        await_workers(client, folder, started, heard)
    return Installation(
        record=record,
        pools=found,
        workers=here,
        started=[worker.name for worker in missing],
        deployments=deployments(),
        automations=installed,
        is_named=True,
        has_other_settings=settings != fingerprint(environment),
    )


def _kept(folder: InstallationFolder, record: Record, here: list[Worker], wanted: Wanted) -> Mapping[str, Process]:
    """Workers that live and may stay. Those of GPUs that are to be shared out anew are killed; their flows go on."""
    living = {name: process for name, process in record.workers.items() if lives(process, folder.mark)}
    pool_of = {worker.name: worker.pool for worker in here}
    shared_anew = record.gpu_slots != wanted.gpu_slots
    leaving = [name for name in living if name not in pool_of or (shared_anew and pool_of[name] == GPU)]
    end_workers([psutil.Process(living[name].pid) for name in leaving])
    return {name: process for name, process in living.items() if name not in leaving}


def _put_back(folder: InstallationFolder, record: Record, say: Say) -> None:
    """The runs of workers that died, as far as these died too: when a machine lost power, all of them.

    As soon as the server answers: so the server orders what follows, above all what it does itself about runs whose
    heartbeat it missed, after a state that it has seen, and acts on it at once.
    """
    gone = {name for name, process in record.workers.items() if not lives(process, folder.mark)}
    if not gone:
        return
    with client_of(record.api_url) as client:
        lost = abandoned(client, gone, alive=set(supervisors(folder.mark).values()))
        if lost:
            say(f"flow runs: {', '.join(run.name for run in lost)} died with this machine's processes; they continue")
            put_back(client, lost)


def _restore_record(folder: InstallationFolder, before: Record | None) -> None:
    if before is None:
        remove_record(folder)
    else:
        write_record(folder, before)


def _end_server(process: Process) -> None:
    if psutil.pid_exists(process.pid):
        end([psutil.Process(process.pid)], GRACE_SECONDS)


def _end_workers(folder: InstallationFolder, kept: Mapping[str, Process], started: Mapping[Worker, Process]) -> None:
    """They may have taken runs from the queue already: without workers of before, those are stopped too."""
    end_workers([psutil.Process(process.pid) for process in started.values() if lives(process, folder.mark)])
    if not kept:
        end_flow_runs(folder.mark)
