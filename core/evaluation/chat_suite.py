"""The chat suite: bits per byte of held-out answers, exact answers where only one is right, and transcripts.

The validation folder is a mixture; its words and conversations never stood in the training rows of the same mixture.
Answers are greedy, so the suite has no randomness at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path

from core.data.rows import Rows
from core.evaluation.exact_answers import exact_answers
from core.evaluation.measurement import Measurement, wilson_interval
from core.evaluation.samples import Sample
from core.evaluation.subject import Findings, Subject
from core.inference.sampling import Sampling
from core.posttraining.held_out import HeldOut, read_held_out
from core.posttraining.rendering import PromptTooLongError, render, render_prompt
from core.stages.identity import EvaluateIdentity
from core.stages.report import Reporter

QUESTIONS = 256  # of one task, at most
STOP = ("<|assistant_end|>", "<|bos|>", "<|python_end|>")  # what a Python call prints is not the model's to invent


def chat_suite(subject: Subject, validation: Path, identity: EvaluateIdentity, report: Reporter) -> Findings:
    """Measure and sample; `validation` is the folder of a mixture."""
    rows, masks = Rows.open(validation, "validation.rows"), Rows.open(validation, "validation.mask")
    bits = subject.bits_per_byte(rows, masks, identity.validation_tokens)
    report.log(f"{bits.value:.4f} bits per byte on {bits.sample_size:,} bytes of answers")
    by_task = group_by_task(read_held_out(validation))
    results = {"bits_per_byte": bits}
    for task, examples in by_task.items():
        if not examples[0].unique_answer:
            continue
        accuracy = measure_exact_answers(subject, examples[:QUESTIONS])
        if accuracy is not None:
            results[f"exact_answers/{task}"] = accuracy
            report.log(f"{task}: {accuracy.value:.1%} of {accuracy.sample_size} answers exact")
    return Findings(
        results,
        tuple(islice(_transcripts(subject, by_task, identity), identity.samples)),
        f"Greedy, at most {identity.sample_tokens} tokens; an answer ends where it would call Python.",
    )


def group_by_task(examples: Sequence[HeldOut]) -> dict[str, list[HeldOut]]:
    """Examples by the name of their task, in order."""
    groups: dict[str, list[HeldOut]] = {}
    for example in examples:
        groups.setdefault(example.task, []).append(example)
    return groups


def measure_exact_answers(subject: Subject, examples: Sequence[HeldOut]) -> Measurement | None:
    """Share of exact answers among the conversations that fit the model's context; None when none fits."""
    context = subject.state.sequence_length
    rendered = [render(example.conversation, subject.tokenizer, context) for example in examples]
    found = exact_answers(subject.model, [whole for whole in rendered if not whole.cut])
    if not found:
        return None
    return Measurement(
        value=sum(found) / len(found),
        unit="share of answers exact to the letter",
        sample_size=len(found),
        sample_unit="questions",
        interval=wilson_interval(sum(found), len(found)),
    )


def _transcripts(subject: Subject, by_task: dict[str, list[HeldOut]], identity: EvaluateIdentity) -> Iterator[Sample]:
    """Answers to one question of each task in turn, leaving out prompts that leave no room for an answer."""
    tokenizer, context = subject.tokenizer, subject.state.sequence_length
    sampling = Sampling(max_tokens=identity.sample_tokens, temperature=0)
    stop = {tokenizer.special(name) for name in STOP}
    for example in _in_turn(list(by_task.values())):
        question = example.conversation.before_answer()
        try:
            prompt = render_prompt(question, tokenizer, max_tokens=context - sampling.max_tokens)
        except PromptTooLongError:
            continue
        wanted = render(example.conversation, tokenizer, context).tokens[len(prompt) :]
        yield Sample(
            title=example.task,
            prompt=question.messages[-1].text,
            answer=subject.answer(prompt, sampling, stop),
            reference=tokenizer.decode(wanted),
        )


def _in_turn(groups: Sequence[Sequence[HeldOut]]) -> Iterator[HeldOut]:
    return (example for example in chain.from_iterable(zip_longest(*groups)) if example is not None)
