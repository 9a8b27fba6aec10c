"""`miniseries run`: the pipeline of one tag, or many tags in one run, here and now, and what came of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console

from core.planning.plan import Plan, plan_of
from core.planning.title import unique_title
from flows.commands.consent import Consent, estimate, require_consent
from flows.commands.run_result import RunResult
from flows.commands.run_summary import summarize
from flows.console import console, print_json
from flows.prefect_environment import names_a_server, prefect_for_this_run
from flows.stopping import stop_once
from flows.webhook import webhook_from_environment
from tasks.display import BarDisplay, Display, LineDisplay, shown_on
from tasks.perform import StageFailed
from tasks.settings import settings_from_environment


def run(tags: Sequence[str], consent: Consent) -> None:
    """Run the pipelines of `tags`, showing progress, and end with what was made.

    Raises `StageFailed` when not all of them are complete, after the rest was shown.
    """
    out = console()
    result = bring_about(tags, consent, out)
    summarize(result, out)
    require_complete(result)


def run_json(tags: Sequence[str], consent: Consent) -> None:
    """The same; progress goes to standard error, the references of all stages to standard output."""
    result = bring_about(tags, consent, Console(file=sys.stderr))
    print_json(result.listing())
    require_complete(result)


def bring_about(tags: Sequence[str], consent: Consent, out: Console, until: str | None = None) -> RunResult:
    """Make what is missing of `tags`, or of what their deliverable `until` needs, telling `out` what and how far."""
    webhook_from_environment()  # one that cannot be used is found out now, and not when the run is over
    store = settings_from_environment().open_store()
    plan = plan_of(tags, store, until=until)
    needed = sum(planned.progress.needed for planned in plan.stages)
    names = ", ".join(plan.tags)
    out.print(f"{names}: {len(plan.stages)} stages, {needed} to make, store {store.url}", markup=False, soft_wrap=True)
    if needed:
        require_consent(plan, store, consent)
        out.print(f"to do: {estimate(plan)}", markup=False, soft_wrap=True)
    return _run_flow(plan, display_on(out))


def require_complete(result: RunResult) -> None:
    """Raise `StageFailed` with the verdict unless all that was asked for is there."""
    if result.failed:
        raise StageFailed(result.verdict)


class _PipeHandler(logging.StreamHandler[IO[str]]):
    """Writes lines; a pipe that was closed ends the run instead of printing a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            raise error


def _run_flow(plan: Plan, display: Display) -> RunResult:
    if not names_a_server() and not any(planned.progress.needed for planned in plan.stages):
        return _cached(plan, display)
    with prefect_for_this_run(), stop_once(), shown_on(display):
        return _one(plan.tags[0], plan.until) if len(plan.tags) == 1 else _many(plan.tags)


def _one(tag: str, until: str | None) -> RunResult:
    from flows.pipeline import pipeline

    return RunResult(tags=(tag,), stages=pipeline(tag, until))


def _many(tags: tuple[str, ...]) -> RunResult:
    from flows.miniseries import miniseries

    state = miniseries(list(tags), return_state=True)
    data: Any = state.result(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    return RunResult(tags=tags, verdict=state.message or "", **data)


def _cached(plan: Plan, display: Display) -> RunResult:
    """What the flow returns when there is nothing to make: no embedded server is started, since no UI would show it."""
    from tasks.table import TASKS

    there = [planned for planned in plan.stages if planned.progress.state == "cached"]
    with stop_once(), shown_on(display):
        states = {
            planned.stage.key: TASKS[planned.stage.kind].fn(
                planned.tags[0], planned.stage.key, unique_title(planned.stage)
            )
            for planned in there
        }
    references = {key: state if isinstance(state, dict) else state.data for key, state in states.items()}
    if webhook_from_environment() is not None:
        from flows.notifications import tell_completed

        flow = "pipeline" if len(plan.tags) == 1 else "miniseries"
        tell_completed(flow, plan.tags, sum(reference["seconds"] for reference in references.values()), display.say)
    return RunResult(tags=plan.tags, stages=references)


def display_on(out: Console) -> Display:
    """Bars on a terminal, lines with the time of day elsewhere."""
    if out.is_terminal:
        return BarDisplay(out)
    logger = logging.getLogger("miniseries.run")
    handler = _PipeHandler(out.file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return LineDisplay(logger)
