"""`miniseries run`: the pipeline of one tag, here and now, and what came of it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console

from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.cost import stage_cost
from core.planning.progress import Survey, required, visited
from core.planning.stage import Stage
from core.planning.title import title, unique_title
from core.recipes.table import find_recipe
from core.stages.kind import StageKind
from flows.console import console, count, listing, print_json
from flows.prefect_environment import names_a_server, prefect_for_this_run
from flows.stopping import stop_once
from tasks.display import BarDisplay, Display, LineDisplay, shown_on
from tasks.settings import settings_from_environment

References = Mapping[str, Mapping[str, Any]]


def run(tag: str) -> None:
    """Run the pipeline of `tag`, showing progress, and end with what was made."""
    tag = find_recipe(tag).tag
    out = console()
    out.print(f"{tag}: {len(stages_of(tag))} stages, store {settings_from_environment().open_store().url}")
    references = _run_flow(tag, _display(out))
    _summarize(tag, references, out)


def run_json(tag: str) -> None:
    """Run the pipeline of `tag`; progress goes to standard error, the references of all stages to standard output."""
    tag = find_recipe(tag).tag
    references = _run_flow(tag, _display(Console(file=sys.stderr)))
    print_json({"tag": tag, "stages": references})


class _PipeHandler(logging.StreamHandler[IO[str]]):
    """Writes lines; a pipe that was closed ends the run instead of printing a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            raise error


def _run_flow(tag: str, display: Display) -> References:
    if not names_a_server():
        survey = settings_from_environment().open_store().survey()
        if not required(stages_of(tag).values(), survey):
            return _cached(tag, survey, display)
    with prefect_for_this_run():
        from flows.pipeline import pipeline

        with stop_once(), shown_on(display):
            references: References = pipeline(tag)
    return references


def _cached(tag: str, survey: Survey, display: Display) -> References:
    """What the flow returns when there is nothing to make: no embedded server is started, since no UI would show it."""
    from tasks.table import TASKS

    there = visited(stages_of(tag).values(), survey)
    with stop_once(), shown_on(display):
        states = {stage.key: TASKS[stage.kind].fn(tag, stage.key, unique_title(stage)) for stage in there}
    return {key: state if isinstance(state, dict) else state.data for key, state in states.items()}


def _display(out: Console) -> Display:
    if out.is_terminal:
        return BarDisplay(out)
    logger = logging.getLogger("miniseries.run")
    handler = _PipeHandler(out.file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return LineDisplay(logger)


def _summarize(tag: str, references: References, out: Console) -> None:
    store = settings_from_environment().open_store()
    stages = stages_of(tag)
    table = listing("stage", "key", "state", "time>", "tokens>", "result")
    for key, reference in references.items():
        tokens = stage_cost(stages[key]).tokens
        table.add_row(
            title(stages[key]),
            key[:12],
            reference["state"],
            f"{reference['seconds']:.1f} s",
            count(tokens) if tokens else "",
            reference["summary"],
        )
    out.print()
    out.print(table)
    for line in _highlights(store, stages, references):
        out.print(line, markup=False, soft_wrap=True)


def _highlights(store: Store, stages: Mapping[str, Stage], references: References) -> list[str]:
    lines = [""]
    for key, stage in stages.items():
        metrics = references[key]["metrics"] if key in references else {}
        if stage.kind is StageKind.RECALIBRATE:
            lines.append(
                f"validation bits per byte at the RoPE drop: {metrics['drop_bpb_with_rope']:.4f} with RoPE, "
                f"{metrics['drop_bpb_without_rope']:.4f} without, {metrics['validation_bpb']:.4f} after recalibration"
            )
        if stage.kind is StageKind.EXPORT_HF:
            lines.append(f"model ({stage.name}): {store.path_of(stage.address)}")
        if stage.kind is StageKind.PUBLISH:
            lines.append(f"published: {settings_from_environment().runtime.publication_url}")
    lines.extend(_sample(store, stages))
    return lines


def _sample(store: Store, stages: Mapping[str, Stage]) -> list[str]:
    """The first text that the base model wrote."""
    for stage in stages.values():
        if stage.kind is StageKind.EVALUATE and stage.name.endswith("-base"):
            evaluation = json.loads((store.fetch(stage.address) / "evaluation.json").read_text(encoding="utf-8"))
            for sample in evaluation["samples"][:1]:
                return ["", f"the base model continues {sample['prompt']!r}:", f"{sample['prompt']}{sample['answer']}"]
    return []
