"""The base suite: bits per byte of held-out text in every direction, and continuations of a few fixed prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from core.data.direction import measured_row_sets
from core.data.rows import Rows
from core.evaluation.findings import Findings
from core.evaluation.measurement import Measurement
from core.evaluation.samples import Sample
from core.evaluation.subject import Subject
from core.inference.sampling import Sampling
from core.stages.context import StageContext
from core.stages.identity import EvaluateIdentity

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


def base_suite(subject: Subject, context: StageContext[EvaluateIdentity]) -> Findings:
    """Measure and sample; input `validation` is packed rows.

    A model that reads in both directions is measured in each, on the same documents: `bits_per_byte_forward` and
    `bits_per_byte_backward`; `bits_per_byte` is then over the bytes of both.
    """
    identity = context.identity
    results = measure_ways(subject, context.inputs["validation"], identity.validation_tokens)
    for name, bits in results.items():
        context.report.log(f"{name.replace('_', ' ')}: {bits.value:.4f} on {bits.sample_size:,} bytes")
    return Findings(
        results,
        tuple(_continuations(subject, identity)),
        f"Temperature {TEMPERATURE}, top {TOP_K}, at most {identity.sample_tokens} tokens, "
        f"seeds {identity.seed} and following.",
    )


def measure_ways(subject: Subject, validation: Path, tokens: int) -> dict[str, Measurement]:
    """Bits per byte over all ways in which the model reads, `tokens` targets of each; and of each, when it has two."""
    ways = {
        f"bits_per_byte_{way}": subject.bits_per_byte(Rows.open(validation, name), None, tokens)
        for way, name in measured_row_sets(subject.state.direction).items()
    }
    [first, *others] = ways.values()
    if not others:
        return {"bits_per_byte": first}
    size = sum(bits.sample_size for bits in ways.values())
    value = sum(bits.value * bits.sample_size for bits in ways.values()) / size
    return {"bits_per_byte": replace(first, value=value, sample_size=size), **ways}


def _continuations(subject: Subject, identity: EvaluateIdentity) -> Iterator[Sample]:
    """Each prompt in each way in turn; read backward, what is written stands before the prompt."""
    speaker = subject.speaker
    for number in range(identity.samples):
        way = speaker.ways[number % len(speaker.ways)]
        prompt = PROMPTS[number // len(speaker.ways) % len(PROMPTS)]
        sampling = Sampling(
            max_tokens=identity.sample_tokens,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            seed=identity.seed + number,
        )
        written = subject.written(speaker.completion_prompt(prompt, way), sampling, speaker.completion_stops)
        yield Sample(
            title=f"Seed {sampling.seed}" + ("" if way == "forward" else ", backward: what precedes the prompt"),
            prompt=prompt,
            answer=speaker.text(written, way),
        )
