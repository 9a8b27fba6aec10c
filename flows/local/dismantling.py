"""Taking down what `miniseries up` started, and nothing else, whatever state it was left in.

What is ours carries the mark of this user's installation in its environment; so it is found also when the record is
lost or a process died on the way. Order: workers, flow runs (which checkpoint), whatever else is left of them, server,
Prefect profile, record. Pools, deployments and automations are entries in the server's database and stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psutil

from flows.local.client import client_of
from flows.local.ending import abandoned, end_flow_runs, end_workers, flow_runs, put_back, supervisors
from flows.local.folder import InstallationFolder
from flows.local.processes import end, marked, words
from flows.local.profile import restore_profile
from flows.local.record import Record, read_record, remove_record
from flows.local.server import answers

SERVER = ("prefect", "server", "start")
WORKER = ("prefect", "worker", "start")
GRACE_SECONDS = 15.0  # for the server to end its requests, and for what is left of flow runs
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """What was stopped."""

    servers: int = 0
    workers: list[str] = field(default_factory=list)
    flow_runs: list[str] = field(default_factory=list)  # ids; they are back in the queue
    others: int = 0  # processes that outlived those
    profile: str | None = None  # the profiles file that was put back


def runs_under_way(folder: InstallationFolder) -> list[str]:
    """The flow runs that would be stopped, by name where the server tells, else by id."""
    ids = sorted(set(supervisors(folder.mark).values()))
    record = read_record(folder)
    if not ids or record is None or not answers(record.api_url):
        return [str(run) for run in ids]
    with client_of(record.api_url) as client:
        return [run.name for run in flow_runs(client, ids)]


def take_down(folder: InstallationFolder, say: Say) -> Stopped | None:
    """Stop everything of this installation, telling `say` what takes time; None when there was nothing."""
    record = read_record(folder)
    if record is None and not marked(folder.mark):
        return None
    workers = _called(folder, WORKER)
    names = [_name(worker) for worker in workers]
    end_workers(workers)
    under_way = supervisors(folder.mark)
    if under_way:
        say(f"flow runs: {len(under_way)} under way; they checkpoint and go back to the queue (up to 30 s)")
    stopped = end_flow_runs(folder.mark)
    if record is not None:
        _put_back(record, names, stopped, say)
    servers = _called(folder, SERVER)
    others = [process for process in marked(folder.mark) if process not in servers]
    end(others, GRACE_SECONDS)
    end(servers, GRACE_SECONDS)
    if record is not None and record.profile is not None:
        restore_profile(folder, record.profile)
    remove_record(folder)
    return Stopped(
        servers=len(servers),
        workers=names,
        flow_runs=[str(run) for run in stopped],
        others=len(others),
        profile=record.profile.path if record is not None and record.profile is not None else None,
    )


def _put_back(record: Record, workers: Sequence[str], stopped: Sequence[UUID], say: Say) -> None:
    """Those that their supervisor could not put back itself."""
    if answers(record.api_url):
        with client_of(record.api_url) as client:
            put_back(client, abandoned(client, {*workers, *record.workers}, alive=()))
    elif stopped:
        say(
            f"{record.api_url} gives no answer: it shows {len(stopped)} runs as running until their heartbeat is missed"
        )


def _called(folder: InstallationFolder, called: tuple[str, ...]) -> list[psutil.Process]:
    return [process for process in marked(folder.mark) if set(called) <= set(words(process))]


def _name(worker: psutil.Process) -> str:
    """What the server calls it."""
    said = words(worker)
    return said[said.index("--name") + 1] if "--name" in said else str(worker.pid)
