"""Three tags that share a trunk, started at once by different people, on a pool of two GPU nodes with one slot each.

    python -m benchmarks.team_order [--json]

Real: a Prefect server with the pools, deployments and automations of `miniseries up`, a worker for pipelines, two for
GPU jobs in homes of their own, torchrun on a CPU, an empty store. Judged afterwards, from what the server and all
processes noted:

- every run completed, every artifact verifies, and at most one manifest was committed for each key;
- no training stage was begun twice, and each was one GPU job, whoever asked for it;
- a job began only when what it needs was committed, and was asked for soon after;
- of the jobs that stood in the queue when a node took one, it took the one that was due first: the longest remaining
  path, of runs that began together.

Exits 1 when one of these does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType

from artifacts.store import Store
from benchmarks.crash_matrix.fault import FOLDER, JOB
from benchmarks.crash_matrix.judge import commits_twice, damages, double_runs
from benchmarks.crash_matrix.pools import FLOWS, add_deployment, client_of, start_worker
from benchmarks.crash_matrix.preparation import environment_of
from benchmarks.crash_matrix.program import DELIVERABLE, register
from benchmarks.crash_matrix.servers import end_family, start_prefect
from benchmarks.crash_matrix.trace import Event, read_trace
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from flows.local.automations import install_automations
from flows.local.pools import CPU, GPU, ensure_pools, pools

TAGS = ("crash_drope_25", "crash_drope_50", "crash_drope_75")
NODES = 2
PATIENCE_SECONDS = 900.0
SOON_SECONDS = 30.0  # from a commit to the request for what needs it: runs look for each other's artifacts every second
FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A GPU job as it went."""

    stage: str
    needs: tuple[str, ...]  # folders of the training stages before it
    due: datetime
    asked: datetime
    taken: datetime  # by a node
    ended: datetime
    node: str
    state: str


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print what happened as JSON")
    arguments = parser.parse_args()
    register()
    with TemporaryDirectory(prefix="miniseries-team-") as name, ExitStack() as stack:
        runs, jobs, wrong = play(Path(name), stack)
    if arguments.json:
        print(json.dumps({"runs": runs, "jobs": [asdict(job) for job in jobs], "wrong": wrong}, default=str, indent=1))
    else:
        print("\n".join(lines(runs, jobs, wrong)))
    sys.exit(1 if wrong else 0)


def play(folder: Path, stack: ExitStack) -> tuple[Mapping[str, str], Sequence[Job], Sequence[str]]:
    """The states of the runs by tag, the GPU jobs in the order in which nodes took them, and what does not hold."""
    server = start_prefect(folder / "prefect")
    stack.callback(server.end)
    environment = {**environment_of(server.api, str(folder / "store"), {}), FOLDER: str(folder), JOB: "yes"}
    with client_of(server.api) as client:
        ensure_pools(client, pools(gpu_slots=NODES), own_server=True)
        install_automations(client)
        add_deployment(client, "gpu-job/h100", f"{FLOWS}:gpu_job", GPU, {})
        for tag in TAGS:
            add_deployment(client, f"pipeline/{tag}", f"{FLOWS}:pipeline", CPU, {"tag": tag, "until": DELIVERABLE})
        delegating = {**environment, "MINISERIES_DISPATCH": "deployment"}
        stack.callback(end_family, start_worker(server.api, CPU, delegating, folder / "pipelines", None))
        for number in range(NODES):
            stack.callback(end_family, start_worker(server.api, GPU, environment, folder / f"node-{number}"))
        runs = {tag: client.create_flow_run_from_deployment(_deployment(client, tag)) for tag in TAGS}
        states = _awaited(client, runs)
        jobs = list(_jobs(client))
    store = Store.open(str(folder / "store"), folder / "judge")
    return states, jobs, [*judged(states, jobs, read_trace(folder)), *damages(store)]


def _deployment(client: SyncPrefectClient, tag: str) -> Any:
    return client.read_deployment_by_name(f"pipeline/{tag}").id


def _awaited(client: SyncPrefectClient, runs: Mapping[str, FlowRun]) -> dict[str, str]:
    """The states of the runs once all have ended."""
    deadline, wanted = time.monotonic() + PATIENCE_SECONDS, [run.id for run in runs.values()]
    while True:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=wanted)))
        if all(run.state_type in FINAL for run in found) or time.monotonic() > deadline:
            states = {run.id: run.state_name or "" for run in found}
            return {tag: states[run.id] for tag, run in runs.items()}
        time.sleep(1)


def _jobs(client: SyncPrefectClient) -> Iterator[Job]:
    """The GPU jobs that began, as nodes took them. One that a busy server did not let begin is followed by another."""
    stages = {stage.key: stage for tag in TAGS for stage in stages_of(tag).values()}
    found = [run for run in client.read_flow_runs() if run.work_pool_name == GPU and run.run_count]
    jobs = [_job(client, run, stages[run.parameters["key"]]) for run in found]
    yield from sorted(jobs, key=lambda job: job.taken)


def _job(client: SyncPrefectClient, run: FlowRun, stage: Stage) -> Job:
    states = {state.type: state for state in client.read_flow_run_states(run.id)}
    assert run.created is not None
    assert run.expected_start_time is not None
    return Job(
        stage=stage.address.folder,
        needs=tuple(need.address.folder for need in stage.needs.values() if need.kind in ("pretrain", "recalibrate")),
        due=run.expected_start_time,
        asked=run.created,
        taken=states[StateType.PENDING].timestamp,
        ended=max(state.timestamp for state in states.values()),
        node=str(run.labels.get("prefect.worker.name", "")),
        state=run.state_name or "",
    )


def judged(states: Mapping[str, str], jobs: Sequence[Job], trace: Sequence[Event]) -> list[str]:
    """What does not hold."""
    attempts = {(event.folder, event.details["token"]) for event in trace if event.what == "rank"}
    begun = Counter(folder for folder, _ in attempts)
    return [
        *(f"{tag} ended as {state}" for tag, state in states.items() if state != "Completed"),
        *commits_twice(trace),
        *double_runs(trace),
        *(f"{folder} was begun {count} times" for folder, count in begun.items() if count > 1),
        *(f"{stage} was {count} GPU jobs" for stage, count in Counter(job.stage for job in jobs).items() if count > 1),
        *_out_of_turn(jobs),
        *_untimely(jobs, {event.folder: event.wall for event in trace if event.what == "commit"}),
    ]


def _out_of_turn(jobs: Sequence[Job]) -> Iterator[str]:
    """A node took a job although another one that was due before it stood in the queue when the node looked there."""
    for place, job in enumerate(jobs):
        looked = max([job.asked, *(earlier.ended for earlier in jobs[:place] if earlier.node == job.node)])
        for later in jobs[place + 1 :]:
            if later.asked < looked and later.due < job.due:
                yield f"{job.stage} was taken before {later.stage}, which waited and was due first"


def _untimely(jobs: Sequence[Job], committed: Mapping[str, float]) -> Iterator[str]:
    """A job was asked for before what it needs was committed, or long after."""
    for job in jobs:
        waited = job.asked.timestamp() - max((committed[need] for need in job.needs), default=job.asked.timestamp())
        if not 0 <= waited <= SOON_SECONDS:
            yield f"{job.stage} was asked for {waited:.1f} s after what it needs was committed"


def lines(runs: Mapping[str, str], jobs: Sequence[Job], wrong: Sequence[str]) -> Iterator[str]:
    """For people: who made what, when."""
    first = min(job.asked for job in jobs)
    for tag, state in runs.items():
        yield f"{tag}: {state}"
    for job in jobs:
        times = [(moment - first).total_seconds() for moment in (job.due, job.asked, job.taken, job.ended)]
        due, asked, taken, ended = (f"{seconds:6.1f}" for seconds in times)
        yield f"due {due}, asked {asked}, taken {taken} by {job.node}, {job.state.lower()} {ended} s: {job.stage}"
    yield from wrong or ["all holds"]


if __name__ == "__main__":
    main()
