"""Compare an export with the model it was made from: the files as written, loaded as a stranger would load them.

Passes over the weights, one model in memory at a time: the trained model with its weights rounded as the files are, the
trained model as it is (only where the files are rounded), then the export. The first and the last differ by nothing but
the order of floating-point sums, the last two by the rounding. All compute in float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from core.export.certificate import Certificate, Check, Compared, Layout, at_least, at_most, describe, exactly
from core.export.parity import (
    Continuation,
    Prompts,
    Readout,
    Sample,
    capped,
    draw_prompts,
    exported_continuations,
    exported_logits,
    largest_difference,
    mean_divergence,
    native_continuations,
    native_logits,
    native_model,
    padded_continuations,
    wrong_tokens,
)
from core.export.source import Source
from core.export.stranger import Stranger, as_stranger
from core.export.text_checks import text_checks
from core.export.weight_files import Planned
from core.stages.context import StageError

ONE_THREAD_PARAMETERS = 10_000_000
LIBRARIES = ("transformers", "tokenizers", "torch")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far apart numbers may be.

    Logits lie in [-15, 15]; equal weights in float32 differ by the order of sums only: 1e-6 for tiny models, before the
    cap 4e-6. Deeper and longer ones add up more, hence the room. Rounding weights to bfloat16 cost 2e-5 nats there.
    """

    logits: float = 1e-3
    rounding: float = 0.02  # nats a position


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export to be certified: where it is and what has to be in it."""

    layout: Layout
    folder: Path
    source: Source
    tensors: Mapping[str, Planned]  # as they were to be written
    dtype: torch.dtype
    settings: Mapping[str, object]  # of config.json
    generation: Mapping[str, object]  # of generation_config.json
    readout: Readout = capped
    difference: str = ""  # what it does not do as the model does


@dataclass(frozen=True)
class Answers:
    """What the trained model says: logits to all prompts as rounded, to short ones unrounded, and its continuations."""

    prompts: Prompts
    logits: Sequence[Tensor]
    unrounded: Mapping[int, Tensor]  # by the place of the prompt among those asked
    continued: Sequence[Continuation]

    @property
    def asked(self) -> tuple[Tensor, ...]:
        """Base prompts, then chat prompts."""
        return self.prompts.base + self.prompts.chat


def certify(export: Export, scratch: Path, sample: Sample | None = None, bounds: Bounds | None = None) -> Certificate:
    """Run every check and return the certificate, passed or not; raises `StageError` when the export does not load."""
    source, bounds = export.source, bounds or Bounds()
    sample = sample or Sample.of(source.parameters)
    with threads_for(source.parameters):
        answers = native_answers(export, sample)
        with as_stranger(export.folder, scratch) as stranger:
            chats = source.state.phase == "sft"
            checks = [
                *file_checks(export, stranger),
                *text_checks(source.tokenizer, stranger.tokenizer, export.folder, sample, chats=chats),
                *logit_checks(export, stranger, answers, sample, bounds),
                *continuation_checks(export, stranger, answers, sample, bounds),
            ]
    return Certificate(
        layout=export.layout,
        passed=all(check.passed for check in checks),
        versions={library: version(library) for library in LIBRARIES},
        difference=export.difference,
        checks=tuple(checks),
        files=describe(export.folder),
    )


@contextmanager
def threads_for(parameters: int) -> Iterator[None]:
    """One thread for a small model: to hand its products to several takes longer than to compute them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if parameters < ONE_THREAD_PARAMETERS else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def require(certificate: Certificate) -> None:
    """Raise `StageError` with the first check that failed and the names of the others."""
    if failures := certificate.failures:
        others = ", ".join(check.name for check in failures[1:])
        also = f"; also failed: {others}" if others else ""
        raise StageError(f"the export is not the model: {failures[0].failure}{also}")


def native_answers(export: Export, sample: Sample) -> Answers:
    """Ask the trained model."""
    source = export.source
    prompts = draw_prompts(source.tokenizer, source.state.sequence_length, sample)
    asked = prompts.base + prompts.chat
    short = [place for place, prompt in enumerate(asked) if len(prompt) <= sample.rounded]
    model = native_model(source, export.dtype)
    logits = native_logits(model, asked, sample, export.readout)
    continued = native_continuations(model, prompts.continued, sample.new_tokens)
    if export.dtype == torch.float32:
        return Answers(prompts, logits, {place: logits[place] for place in short}, continued)
    del model  # before another one takes its memory
    unrounded = native_logits(
        native_model(source, torch.float32), [asked[place] for place in short], sample, export.readout
    )
    return Answers(prompts, logits, dict(zip(short, unrounded, strict=True)), continued)


def file_checks(export: Export, stranger: Stranger) -> Iterator[Check]:
    """Every tensor, their number of parameters, and every setting."""
    loaded = dict(stranger.model.named_parameters())
    problems = list(stranger.problems) or [
        f"{name} differs from the trained one"
        for name, planned in export.tensors.items()
        if name not in loaded or not torch.equal(loaded[name], planned.make().to(export.dtype).float())
    ]
    tensors = Compared(len(export.tensors), "tensors")
    yield at_most("tensors", len(problems), 0, "tensors are off", tensors, problems[0] if problems else "")
    parameters = sum(planned.shape.numel() for planned in export.tensors.values())
    yield exactly("parameters", sum(tensor.numel() for tensor in loaded.values()), parameters, "parameters", tensors)
    wrong = [*different_settings(export, stranger)]
    settings = Compared(len(export.settings) + len(export.generation), "settings")
    yield at_most("settings", len(wrong), 0, "settings differ", settings, "; ".join(wrong))


def different_settings(export: Export, stranger: Stranger) -> Iterator[str]:
    """Settings that stand in the files, or were read by transformers, otherwise than the trained model has them."""
    for file, expected, loaded in (
        ("config.json", export.settings, stranger.config.to_dict()),
        ("generation_config.json", export.generation, stranger.generation.to_dict()),
    ):
        written = json.loads((export.folder / file).read_bytes())
        for name, value in expected.items():
            if written.get(name) != value:
                yield f"{name} is {written.get(name)!r} in {file}, trained as {value!r}"
            elif loaded.get(name, value) != value:
                yield f"{name} of {file} is read as {loaded[name]!r}, trained as {value!r}"


def logit_checks(
    export: Export, stranger: Stranger, answers: Answers, sample: Sample, bounds: Bounds
) -> Iterator[Check]:
    """Logits of base and chat prompts, the effect of positions, and what rounding the weights has changed."""
    found = exported_logits(stranger.model, answers.asked, sample)
    rounded = [found[place] for place in answers.unrounded]
    base = len(answers.prompts.base)
    for name, part in (("logits", slice(base)), ("chat_logits", slice(base, None))):
        asked = answers.asked[part]
        difference, prompt = largest_difference(answers.logits[part], found[part])
        lengths = [len(one) for one in asked]
        yield at_most(
            name,
            difference,
            bounds.logits,
            "largest difference of a logit",
            positions(found[part], sample, f" of prompts of {min(lengths)} to {max(lengths)} tokens"),
            f"in the prompt of {lengths[prompt]} tokens",
        )
    if export.layout == "hf":
        yield from position_checks(export, stranger, answers, sample, bounds)
    yield at_most(
        "rounding",
        mean_divergence(list(answers.unrounded.values()), rounded),
        bounds.rounding,
        "nats a position of divergence from the unrounded model",
        positions(rounded, sample, f" of prompts of at most {sample.rounded} tokens"),
    )


def position_checks(
    export: Export, stranger: Stranger, answers: Answers, sample: Sample, bounds: Bounds
) -> Iterator[Check]:
    """The flag is that of the trained model, and the other way round the logits would not have passed."""
    config, trained = stranger.model.config, export.source.state.use_rope
    meaning = "(1: positions are rotated, 0: there are none)"
    yield exactly("use_rope", int(config.use_rope), int(trained), meaning, Compared(1, "flags"))
    prompts = answers.prompts.continued[: sample.flipped]
    as_it_is = exported_logits(stranger.model, prompts, sample)
    config.use_rope = not config.use_rope
    try:
        flipped = exported_logits(stranger.model, prompts, sample)
    finally:
        config.use_rope = not config.use_rope
    effect, _ = largest_difference(as_it_is, flipped)
    yield at_least(
        "use_rope_effect",
        effect,
        bounds.logits,
        "largest difference of a logit with the flag flipped",
        positions(flipped, sample),
    )


def continuation_checks(
    export: Export, stranger: Stranger, answers: Answers, sample: Sample, bounds: Bounds
) -> Iterator[Check]:
    """Greedy tokens prompt by prompt with a cache, then all in a batch padded on the left, with one and without."""
    model, prompts, padding = stranger.model, answers.prompts.continued, export.source.tokenizer.bos
    for name, found in (
        ("greedy_with_cache", exported_continuations(model, prompts, sample, padding)),
        ("greedy_without_cache", padded_continuations(model, prompts, sample, padding, use_cache=False)),
        ("greedy_left_padded", padded_continuations(model, prompts, sample, padding, use_cache=True)),
    ):
        wrong = [
            wrong_tokens(expected, tokens, tie=2 * bounds.logits)
            for expected, tokens in zip(answers.continued, found, strict=True)
        ]
        yield at_most(
            name,
            sum(wrong),
            0,
            "tokens differ",
            Compared(sum(map(len, found)), f"tokens after {len(prompts)} prompts", sample.seed),
            next((f"after prompt {number}" for number, count in enumerate(wrong) if count), ""),
        )


def positions(logits: Sequence[Tensor], sample: Sample, which: str = "") -> Compared:
    """The sample that logits of some prompts are."""
    return Compared(sum(map(len, logits)), f"positions{which}", sample.seed)
