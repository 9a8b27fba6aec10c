"""The evaluate stage: one suite on one model, as numbers (`evaluation.json`) and as text to read (`samples.md`).

The chat suite also leaves every question with its answer and verdict (`answers.jsonl`), from which its scores follow.
Deterministic within a numerics domain; every number carries the size of its sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from core.evaluation.base_suite import base_suite
from core.evaluation.chat_suite import chat_suite
from core.evaluation.examination import Answered
from core.evaluation.findings import Findings
from core.evaluation.samples import samples_page
from core.evaluation.subject import Subject
from core.model.checkpoint import ModelState
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import EvaluateIdentity

ANSWERS = "answers.jsonl"

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
    if findings.examination is not None:
        write_answers(context.output, findings.examination.answers)
    return {name: measurement.value for name, measurement in findings.results.items()}


def write_answers(folder: Path, answers: Iterable[Answered]) -> None:
    """Write `answers.jsonl`, one question a line."""
    with (folder / ANSWERS).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers)


def _write_evaluation(folder: Path, identity: EvaluateIdentity, state: ModelState, findings: Findings) -> None:
    evaluation = {
        "suite": identity.suite,
        "phase": state.phase,
        "use_rope": state.use_rope,
        "direction": state.direction,
        "step": state.step,
        "tokens_seen": state.tokens_seen,
        "sequence_length": state.sequence_length,
        "results": {name: asdict(measurement) for name, measurement in findings.results.items()},
        "samples": [asdict(sample) for sample in findings.samples],
    }
    if findings.examination is not None:
        evaluation["examination"] = {"answer_tokens": identity.answer_tokens, **findings.examination.listing()}
    (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")


def _write_page(folder: Path, identity: EvaluateIdentity, state: ModelState, findings: Findings) -> None:
    title = f"Samples of the {state.phase} model, {identity.suite} suite"
    how = findings.how_sampled
    if findings.examination is not None:
        how = f"{findings.examination.table()}\n\n{how}"
    (folder / "samples.md").write_text(samples_page(title, how, findings.samples), encoding="utf-8")
