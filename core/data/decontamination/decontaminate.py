"""The decontaminate stage: which evaluation questions share n-grams with the rows that pretraining reads. It reports.

Inputs: `questions`, `tokenizer`, and `group-NNN`, the stream in the order of their names, in folders or streamed from
the store. What was found is saved between groups, so that a stage that was killed goes on with the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.store import Room
from core.data.decontamination.evaluation_ngrams import EvaluationNgrams
from core.data.decontamination.report import Report, make_report, render_report
from core.data.decontamination.search import Found, Search
from core.data.tokenizer import Tokenizer
from core.posttraining.questions import read_questions
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import DecontaminateIdentity
from core.stages.streamed import group_roles

JSON_FILE, PAGE = "decontamination.json", "decontamination.md"


def produce(context: StageContext[DecontaminateIdentity]) -> Metrics:
    """Write both files; raise `StageError` when there are no questions or an input is not what it should be."""
    identity = context.identity
    questions = read_questions(context.inputs["questions"])
    if not questions:
        raise StageError("there are no questions to look for; give evaluation.questions tasks or take the stage out")
    ngrams = EvaluationNgrams.of(questions, identity.ngram)
    context.report.log(f"{len(questions):,} questions have {len(ngrams):,} different {identity.ngram}-grams")
    found = search_groups(context, Search(ngrams, Tokenizer.load(context.inputs["tokenizer"]), context.report))
    report = make_report(ngrams, found, identity.rows)
    text = json.dumps(report.json(), indent=2, ensure_ascii=False) + "\n"
    (context.output / JSON_FILE).write_text(text, encoding="utf-8")
    (context.output / PAGE).write_text(render_report(report), encoding="utf-8")
    return _metrics(report)


def search_groups(context: StageContext[DecontaminateIdentity], search: Search) -> Found:
    """Search the groups that an earlier try has not, up to the row at which training ends."""
    newest = context.checkpoints.newest()
    found = Found() if newest is None else Found.load(newest.path)
    roles = group_roles([*context.inputs, *context.streamed])
    saved = time.monotonic()
    for role in roles[found.groups :]:
        if found.rows >= context.identity.rows:
            break
        with group_folder(context, role) as folder:
            search.add_group(found, folder, context.identity.rows - found.rows)
        if time.monotonic() - saved >= context.runtime.checkpoint_seconds:
            save(context, found)
            saved = time.monotonic()
    return found


@contextmanager
def group_folder(context: StageContext[DecontaminateIdentity], role: str) -> Iterator[Path]:
    """The folder of a packed group; one that is streamed is on local disk for as long as the block runs.

    The cache makes room for it, and for no further one, even if a training stage fills it: that may go on for days.
    """
    if role in context.inputs:
        yield context.inputs[role]
        return
    with context.streamed[role].hold(Room()) as folder:
        yield folder


def save(context: StageContext[DecontaminateIdentity], found: Found) -> None:
    """Save what was found as the state after so many groups."""
    folder = context.scratch / f"checkpoint-{found.groups}"
    folder.mkdir()
    found.save(folder)
    context.checkpoints.save(found.groups, folder)


def _metrics(report: Report) -> Metrics:
    tasks = report.tasks.values()
    return {
        "questions": sum(task.questions for task in tasks),
        "overlapping_questions": sum(task.overlapping for task in tasks),
        "too_short_questions": sum(task.too_short for task in tasks),
        "rows": report.found.rows,
        "tokens": report.found.tokens,
        "tasks": report.json()["tasks"],
    }
