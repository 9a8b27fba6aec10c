"""The base suite: bits per byte of read and of held-out text, what RoPE is worth, hidden words, continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.evaluation.cloze import cloze_results, cloze_trials
from core.evaluation.cloze_passages import draw_passages
from core.evaluation.findings import Findings
from core.evaluation.held_out_rows import HeldOutRows, measure_training_rows, together
from core.evaluation.long_context.part import Missing
from core.evaluation.measured_rows import MeasuredRows
from core.evaluation.measurement import Measurement
from core.evaluation.recovery import read_recovery
from core.evaluation.rope_effect import RopeEffect, rope_effects
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
BITS = "bits_per_byte"
OLD = "old_token_bytes"


def base_suite(subject: Subject, context: StageContext[EvaluateIdentity]) -> Findings:
    """Measure and sample.

    Input `validation` is held-out rows, `train` the first group of the training stream, `corpus` holds the held-out
    shard, and `before_drop`, of a recalibrated model, is the one that it was recalibrated from.
    """
    identity, inputs, report = context.identity, context.inputs, context.report
    held_out = HeldOutRows.open(inputs["validation"], subject.state.direction, identity.validation_tokens)
    validation = held_out.measure(subject, "validation")
    train = measure_training_rows(subject, inputs["train"], held_out.count * len(held_out.ways))
    before_drop = Subject.load(inputs["before_drop"], inputs["tokenizer"]) if "before_drop" in inputs else None
    effects = rope_effects(subject, before_drop, held_out, validation)
    passages = draw_passages(inputs["corpus"], identity.held_out_shard, identity.passages, identity.seed)
    trials = cloze_trials(subject, passages)
    results = {**_bits(validation, train, identity.seed), **_effects(effects, identity.seed), **cloze_results(trials)}
    for name, result in results.items():
        report.log(f"{name}: {result.value:.4f} of {result.sample_size:,} {result.sample_unit}")
    return Findings(
        results,
        tuple(_continuations(subject, identity)),
        f"Temperature {TEMPERATURE}, top {TOP_K}, at most {identity.sample_tokens} tokens, "
        f"seeds {identity.seed} and following.",
        rows=(*validation, *([train] if train else []), *(rows for effect in effects for rows in effect.rows)),
        trials=tuple(trials),
        recovery=read_recovery(inputs["model"]),
        missing=tuple(_missing(train, len(passages), identity)),
    )


def _bits(validation: list[MeasuredRows], train: MeasuredRows | None, seed: int) -> dict[str, Measurement]:
    """Held-out first; by the old table of token lengths too where it differs."""
    whole = together(validation)
    named = {BITS: whole}
    if len(validation) > 1:
        named |= {f"{BITS}_{one.way}": one for one in validation}
    if train is not None:
        named[f"{BITS}_train"] = train
    old = {f"{name}_{OLD}": one for name, one in named.items() if one.has_old_bytes}
    return {
        **{name: one.bits_per_byte(seed) for name, one in named.items()},
        **{name: one.old_bits_per_byte(seed) for name, one in old.items()},
    }


def _effects(effects: Sequence[RopeEffect], seed: int) -> dict[str, Measurement]:
    return {name: result for effect in effects for name, result in effect.results(seed).items()}


def _missing(train: MeasuredRows | None, passages: int, identity: EvaluateIdentity) -> Iterator[Missing]:
    if train is None:
        yield Missing(what=f"{BITS}_train", why="the model has read no row of its stream")
    wanted = identity.passages
    if not wanted:
        yield Missing(what="cloze", why="the recipe asks for no passages (evaluation.cloze_passages)")
    elif passages < wanted:
        why = "so few held-out documents have a passage with words to hide"
        yield Missing(what=f"cloze: {wanted - passages:,} of {wanted:,} passages", why=why)


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
            way=way,
        )
