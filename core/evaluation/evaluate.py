"""The evaluate stage: one suite on one model, as numbers (`evaluation.json`) and as text to read (`samples.md`).

Deterministic within a numerics domain; every number carries the size of its sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from core.evaluation.base_suite import base_suite
from core.evaluation.chat_suite import chat_suite
from core.evaluation.samples import samples_page
from core.evaluation.subject import Findings, Subject
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import EvaluateIdentity
from core.stages.report import Reporter

Suite = Callable[[Subject, Path, EvaluateIdentity, Reporter], Findings]

SUITES: dict[str, Suite] = {"base": base_suite, "chat": chat_suite}


def produce(context: StageContext[EvaluateIdentity]) -> Metrics:
    """Write both files; raise `StageError` for an unknown suite or inputs that do not fit each other."""
    identity = context.identity
    if identity.suite not in SUITES:
        raise StageError(f"no evaluation suite is called {identity.suite!r}; there are {', '.join(SUITES)}")
    subject = Subject.load(context.inputs["model"], context.inputs["tokenizer"])
    findings = SUITES[identity.suite](subject, context.inputs["validation"], identity, context.report)
    state = subject.state
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
    (context.output / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    page = samples_page(
        f"Samples of the {state.phase} model, {identity.suite} suite", findings.how_sampled, findings.samples
    )
    (context.output / "samples.md").write_text(page, encoding="utf-8")
    return {name: measurement.value for name, measurement in findings.results.items()}
