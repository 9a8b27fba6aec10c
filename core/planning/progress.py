"""How far a plan is: the state of each stage as one listing of the store shows it, without reading a byte of data.

- cached: committed and not known to be damaged
- running: somebody holds its lease now
- resumable: unfinished, with a checkpoint to continue from
- blocked: waits for a stage that somebody else is running
- pending: to be made
A damaged artifact has the state of one that is to be made again, and says that it is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from artifacts.lease_record import Holder
from artifacts.store import Found
from artifacts.transfer import at_once
from core.planning.stage import Stage

State = Literal["cached", "resumable", "running", "pending", "blocked"]
Survey = Mapping[str, Found]  # artifact folder -> what was found there


@dataclass(frozen=True)
class Progress:
    """One stage's state. `needed` is False when everything that would use it exists already."""

    state: State
    needed: bool
    checkpoint_step: int | None = None
    detail: str = ""
    damaged: bool = False
    holder: Holder | None = None  # of a running stage
    blocked_by: Stage | None = None


def required(stages: Iterable[Stage], survey: Survey) -> set[str]:
    """Keys that must be made to have every leaf of `stages`: backwards from the leaves, stopping at what exists.

    An artifact that was collected as garbage is made again only if something missing is made from it; one that
    is damaged is made again in any case, since it claims to be there.
    """
    stages = list(stages)
    by_key = {stage.key: stage for stage in stages}
    used = {need.key for stage in stages for need in stage.needs.values()}
    missing: set[str] = set()
    pending = [stage for stage in stages if stage.key not in used or _is_damaged(stage, survey)]
    while pending:
        stage = pending.pop()
        if stage.key in missing or _is_committed(stage, survey):
            continue
        missing.add(stage.key)
        pending.extend(by_key.get(need.key, need) for need in stage.needs.values())
    return missing


def progress_of(
    stages: Iterable[Stage], survey: Survey, holder: Callable[[Stage], Holder | None]
) -> dict[str, Progress]:
    """The state of every stage by key; `stages` in order, needs first.

    `holder` says who holds a stage's lease now (None: nobody). It is asked only about unfinished stages
    on whose lease the survey came across, several at a time.
    """
    stages = list(stages)
    missing = required(stages, survey)
    leased = [stage for stage in stages if _was_leased(stage, survey) and not _is_committed(stage, survey)]
    holders = dict(zip((stage.key for stage in leased), at_once(holder, leased), strict=True))
    states: dict[str, Progress] = {}
    for stage in stages:
        found = survey.get(stage.address.folder, Found())
        states[stage.key] = _progress(stage, found, stage.key in missing, states, holders.get(stage.key))
    return states


def _progress(
    stage: Stage, found: Found, needed: bool, states: Mapping[str, Progress], holder: Holder | None
) -> Progress:
    if found.committed and not found.damaged:
        return Progress("cached", needed=False)
    step, damaged = found.checkpoint_step, found.damaged
    if holder is not None:
        return Progress("running", needed, step, f"by {holder.description}", damaged, holder)
    waits = [need for need in stage.needs.values() if states[need.key].state in ("running", "blocked")]
    if waits:
        return Progress("blocked", needed, step, f"by {waits[0].address.folder}", damaged, blocked_by=waits[0])
    if step is not None:
        return Progress("resumable", needed, step, f"at step {step:,}", damaged)
    return Progress("pending", needed, None, "damaged, will be made again" if damaged else "", damaged)


def _was_leased(stage: Stage, survey: Survey) -> bool:
    found = survey.get(stage.address.folder)
    return found is not None and found.leased


def _is_damaged(stage: Stage, survey: Survey) -> bool:
    found = survey.get(stage.address.folder)
    return found is not None and found.damaged


def _is_committed(stage: Stage, survey: Survey) -> bool:
    found = survey.get(stage.address.folder)
    return found is not None and found.committed and not found.damaged
