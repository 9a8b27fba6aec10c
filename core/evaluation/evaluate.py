"""The evaluate stage: one suite on one model, as numbers (`evaluation.json`) and as text to read (`samples.md`).

Beside them stand the raw records from which the numbers follow (`core.evaluation.findings` lists the files).
Deterministic within a numerics domain; every number carries its interval and the size of its sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from core.evaluation.about import about
from core.evaluation.base_suite import base_suite
from core.evaluation.chat_suite import chat_suite
from core.evaluation.cloze import CHANCE, ClozeTrial
from core.evaluation.cloze_passages import CANDIDATES
from core.evaluation.examination import Answered
from core.evaluation.findings import Findings
from core.evaluation.measured_rows import MeasuredRows
from core.evaluation.results_table import results_table
from core.evaluation.samples import samples_page
from core.evaluation.subject import Subject
from core.model.checkpoint import ModelState
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import EvaluateIdentity

ANSWERS, ROWS, CLOZE = "answers.jsonl", "rows.jsonl", "cloze.jsonl"

Suite = Callable[[Subject, StageContext[EvaluateIdentity]], Findings]

SUITES: dict[str, Suite] = {"base": base_suite, "chat": chat_suite}


def produce(context: StageContext[EvaluateIdentity]) -> Metrics:
    """Write the files; raise `StageError` for an unknown suite or inputs that do not fit each other."""
    identity = context.identity
    if identity.suite not in SUITES:
        raise StageError(f"no evaluation suite is called {identity.suite!r}; there are {', '.join(SUITES)}")
    subject = Subject.load(context.inputs["model"], context.inputs["tokenizer"])
    findings = SUITES[identity.suite](subject, context)
    _write_evaluation(context.output, identity, subject.state, findings)
    _write_page(context.output, identity, subject.state, findings)
    _write_rows(context.output, findings.rows)
    if findings.examination is not None:
        write_answers(context.output, findings.examination.answers)
    if identity.suite == "base":
        _write_records(context.output / CLOZE, findings.trials)
    return {name: measurement.value for name, measurement in findings.results.items()}


def write_answers(folder: Path, answers: Iterable[Answered]) -> None:
    """Write `answers.jsonl`, one question a line."""
    _write_records(folder / ANSWERS, answers)


def _write_records(path: Path, records: Iterable[Answered | ClozeTrial]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)


def _write_rows(folder: Path, measured: Iterable[MeasuredRows]) -> None:
    with (folder / ROWS).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line for rows in measured for line in rows.lines())


def _write_evaluation(folder: Path, identity: EvaluateIdentity, state: ModelState, findings: Findings) -> None:
    evaluation = {
        "suite": identity.suite,
        **about(state),
        "sequence_length": state.sequence_length,
        "results": {name: asdict(measurement) for name, measurement in findings.results.items()},
        "sets": [{"set": rows.set, "way": rows.way, **rows.counts()} for rows in findings.rows],
        "missing": [asdict(one) for one in findings.missing],
        "samples": [asdict(sample) for sample in findings.samples],
    }
    if findings.recovery is not None:
        evaluation["recovery"] = asdict(findings.recovery)
    if findings.trials:
        evaluation["cloze"] = {"candidates": CANDIDATES, "chance": CHANCE}
    if findings.examination is not None:
        evaluation["examination"] = {"answer_tokens": identity.answer_tokens, **findings.examination.listing()}
    (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")


def _write_page(folder: Path, identity: EvaluateIdentity, state: ModelState, findings: Findings) -> None:
    title = f"Samples of the {state.phase} model, {identity.suite} suite"
    tables = [results_table(findings.results, findings.missing)]
    if findings.examination is not None:
        tables.append(findings.examination.table())
    how = "\n\n".join((*tables, findings.how_sampled))
    (folder / "samples.md").write_text(samples_page(title, how, findings.samples), encoding="utf-8")
