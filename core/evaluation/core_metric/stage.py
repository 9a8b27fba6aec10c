"""The core_metric stage: CORE of one base model on a bundle of tasks (see `bundle` for the format, `prompt` and
`outcome` for how a question is asked and decided).

Inputs `model`, `tokenizer`, `bundle`. It leaves every question with the log-likelihood of its options
(`outcomes.jsonl`), the numbers made from them (`core.json`), and the same for people (`core.md`). Tasks that were asked
and saved before the stage was killed are not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from core.evaluation.about import about
from core.evaluation.core_metric.bundle import Bundle, Task
from core.evaluation.core_metric.content import Content
from core.evaluation.core_metric.outcome import OUTCOMES, Outcome, ask, write_outcomes
from core.evaluation.core_metric.prompt import Prompter, shuffled
from core.evaluation.core_metric.results import Results
from core.evaluation.journal import Journal
from core.evaluation.subject import Subject
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import CoreMetricIdentity

JSON_FILE, PAGE = "core.json", "core.md"


def produce(context: StageContext[CoreMetricIdentity]) -> Metrics:
    """Ask every task and write the files; raise `StageError` for a bundle without any data."""
    subject = Subject.load(context.inputs["model"], context.inputs["tokenizer"])
    bundle = Bundle.read(context.inputs["bundle"])
    outcomes = list(_outcomes(subject, bundle, context))
    results = Results.of(bundle, outcomes)
    write_outcomes(context.output, outcomes)
    document = _document(subject, bundle, context, results)
    (context.output / JSON_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _write_page(context.output, document, results)
    return {name: measured.value for name, measured in results.measurements().items()}


def _outcomes(subject: Subject, bundle: Bundle, context: StageContext[CoreMetricIdentity]) -> Iterator[Outcome]:
    """Task after task, those that the journal knows already without asking them again."""
    journal, tasks = Journal(context), bundle.present
    if not tasks:
        raise StageError("the bundle has the data of none of its tasks; give one that has them")
    for done, task in enumerate(tasks):
        found = journal.records(task.label, OUTCOMES, partial(_asked, subject, bundle, task, done, context))
        right = sum(one.correct for one in found)
        context.report.log(f"{task.label}: {right:,} of {len(found):,} right")
        context.report.progress(done + 1, len(tasks), "tasks", task.label)
        yield from found


def _asked(
    subject: Subject, bundle: Bundle, task: Task, done: int, context: StageContext[CoreMetricIdentity]
) -> list[Outcome]:
    identity, report = context.identity, context.report
    examples, lines = shuffled(bundle.examples(task), identity.shuffle_seed, identity.examples)
    if len(examples) <= task.shots:
        raise StageError(f"{task.label} shows {task.shots} solved examples; ask more than {len(examples)} of it")
    prompter = Prompter(
        task=task,
        examples=examples,
        shots_seed=identity.shots_seed,
        tokenizer=subject.tokenizer,
        opening=subject.speaker.completion_prompt("", "forward"),
        context_tokens=subject.state.sequence_length,
    )
    total = len(bundle.present)

    def progress(questions: int) -> None:
        report.progress(done + questions / len(examples), total, "tasks", task.label)

    return list(ask(subject.model, prompter, lines, progress))


def _document(
    subject: Subject, bundle: Bundle, context: StageContext[CoreMetricIdentity], results: Results
) -> dict[str, Any]:
    return {
        **about(subject.state),
        "sequence_length": subject.state.sequence_length,
        "asked": asdict(context.identity),
        "bundle": {"title": bundle.title, **Content.of(context.inputs["bundle"]).listing()},
        "results": {name: asdict(measured) for name, measured in results.measurements().items()},
        "tasks": {one.task.label: one.listing() for one in results.tasks},
        "missing": list(results.missing),
    }


def _write_page(folder: Path, document: dict[str, Any], results: Results) -> None:
    bundle = document["bundle"]
    text = (
        f"# CORE of the {document['phase']} model\n\n{results.table()}\n\n"
        "Centered is (accuracy - guessing) / (1 - guessing): 0 for guessing, 1 for all right; CORE is its mean over "
        "tasks. Intervals are Wilson's, that of CORE is put together from them. Cropped questions were longer than "
        f"{document['sequence_length']:,} tokens and lost their beginning.\n\n"
        f"{bundle['title'] or 'Bundle'}: {len(bundle['files'])} files, sha256 `{bundle['sha256']}`. "
        "Every question is in `outcomes.jsonl`.\n"
    )
    (folder / PAGE).write_text(text, encoding="utf-8")
