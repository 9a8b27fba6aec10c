"""The base suite: bits per byte of held-out text, and continuations of a few fixed prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.data.direction import direction_policy
from core.data.rows import Rows
from core.evaluation.samples import Sample
from core.evaluation.subject import Findings, Subject
from core.inference.generate import Sampling
from core.stages.identity import EvaluateIdentity
from core.stages.report import Reporter

TEMPERATURE = 0.8
TOP_K = 50
PROMPTS = (
    "Return a list of",
    "The capital of France is",
    "An exception is raised when",
    "Once upon a time",
    "The difference between a cat and a dog is",
    "If yesterday was Friday, then tomorrow will be",
    "The opposite of hot is",
    "Water is made of",
)


def base_suite(subject: Subject, validation: Path, identity: EvaluateIdentity, report: Reporter) -> Findings:
    """Measure and sample; `validation` is the folder of packed rows."""
    rows = Rows.open(validation)
    bits = subject.bits_per_byte(rows, None, identity.validation_tokens)
    report.log(f"{bits.value:.4f} bits per byte on {bits.sample_size:,} bytes")
    return Findings(
        {"bits_per_byte": bits},
        tuple(_continuations(subject, identity)),
        f"Temperature {TEMPERATURE}, top {TOP_K}, at most {identity.sample_tokens} tokens, "
        f"seeds {identity.seed} and following.",
    )


def _continuations(subject: Subject, identity: EvaluateIdentity) -> Iterator[Sample]:
    begin = direction_policy(subject.state.direction, subject.tokenizer)
    for number in range(identity.samples):
        prompt = PROMPTS[number % len(PROMPTS)]
        sampling = Sampling(
            max_tokens=identity.sample_tokens,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            seed=identity.seed + number,
        )
        tokens = begin(subject.tokenizer.encode(prompt))
        yield Sample(
            title=f"Seed {sampling.seed}",
            prompt=prompt,
            answer=subject.answer(tokens, sampling, stop_tokens={subject.tokenizer.bos}),
        )
