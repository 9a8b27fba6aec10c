"""The mixture stage: conversations of several tasks, shuffled together, rendered, masked and packed to rows of T+1.

Every (task, example) stands `epochs` times in one list that one seed shuffles, so the rows are a function of the
identity alone. Nothing disappears unseen: skipped, truncated and dropped conversations and padding are counted, and
how long conversations were before they were cut, per task where a task can be blamed. `validation.jsonl` keeps the
validation conversations as text.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.posttraining.best_fit_pad import BestFitPadPacker
from core.posttraining.held_out import HeldOut, write_held_out
from core.posttraining.rendering import Rendered, render
from core.posttraining.tasks.table import find_tasks
from core.posttraining.tasks.task import Examples, Material, Split, Task
from core.posttraining.words import collect_words
from core.recipes.recipe import MixtureTask
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import MixtureIdentity
from core.stages.report import Reporter

MASK_VALUES = 2  # a mask is a matrix of ids below 2
SHORTEST = 32  # tokens: the first bound of the histogram of lengths, each next one is twice that


@dataclass
class TaskCounts:
    """What one task contributed to one split, all epochs together."""

    origin: str
    epochs: int
    skipped: int  # rows at the origin that are no conversation
    conversations: int = 0
    truncated: int = 0  # longer than a row: their end is cut
    cut_tokens: int = 0
    without_answer: int = 0  # no supervised token left: not packed
    tokens: int = 0
    supervised_tokens: int = 0
    longest: int = 0  # tokens, before truncation
    lengths: Counter[int] = field(default_factory=Counter)  # conversations of at most 32, 64, 128 ... tokens

    def add(self, rendered: Rendered) -> None:
        """Count one conversation."""
        whole = len(rendered.tokens) + rendered.cut
        self.conversations += 1
        self.truncated += rendered.cut > 0
        self.cut_tokens += rendered.cut
        self.without_answer += rendered.supervised == 0
        self.tokens += len(rendered.tokens)
        self.supervised_tokens += rendered.supervised
        self.longest = max(self.longest, whole)
        self.lengths[max(SHORTEST, 1 << (whole - 1).bit_length())] += 1

    def listing(self) -> dict[str, object]:
        """As JSON; lengths by rising bound."""
        return {**vars(self), "lengths": {f"<={bound}": self.lengths[bound] for bound in sorted(self.lengths)}}

    def __str__(self) -> str:
        mean = self.tokens / self.conversations if self.conversations else 0
        return (
            f"{self.conversations:,} conversations of {mean:,.0f} tokens, the longest {self.longest:,}, "
            f"{self.truncated:,} cut, {self.skipped:,} skipped"
        )


@dataclass(frozen=True)
class OpenTask:
    """One line of a recipe's mixture with its examples at hand."""

    task: Task
    examples: Examples
    counts: TaskCounts


def open_tasks(lines: Sequence[MixtureTask], split: Split, material: Material) -> list[OpenTask]:
    """Find and open the tasks of one split; raise `StageError` for an unknown or repeated name, or no examples."""
    opened = []
    for line, task in zip(lines, find_tasks(lines), strict=True):
        examples = task.open(split, line.rows, material)
        opened.append(OpenTask(task, examples, TaskCounts(examples.origin, line.epochs, examples.skipped)))
    return opened


def in_mixed_order(tasks: Sequence[OpenTask], seed: int) -> list[tuple[OpenTask, int]]:
    """Every (task, example index) once per epoch, shuffled together."""
    pairs = [(task, index) for task in tasks for _ in range(task.counts.epochs) for index in range(len(task.examples))]
    random.Random(seed).shuffle(pairs)
    return pairs


def produce(context: StageContext[MixtureIdentity]) -> Metrics:
    """Write rows and masks of both splits, the held-out conversations, and `mixture.json`."""
    identity = context.identity
    tokenizer = Tokenizer.load(context.inputs["tokenizer"])
    words = collect_words(context.inputs["corpus"])
    context.report.log(f"{len(words.training):,} words to spell, {len(words.validation):,} more held out")
    material = Material(words, identity.persona)
    training = open_tasks(identity.training, "training", material)
    validation = open_tasks(identity.validation, "validation", material)
    made = {
        "train": _write_rows(context, training, "train", tokenizer),
        "validation": _write_rows(context, validation, "validation", tokenizer),
    }
    if made["train"]["rows"] == 0:
        raise StageError("the mixture has no conversation to train on; give its tasks rows")
    write_held_out(context.output, _held_out(validation))
    summary = {
        "words": {"training": len(words.training), "validation": len(words.validation)},
        "row_tokens": identity.row_tokens,
        **made,
    }
    (context.output / "mixture.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return {**made["train"], "validation": made["validation"]}


def _write_rows(
    context: StageContext[MixtureIdentity], tasks: Sequence[OpenTask], name: str, tokenizer: Tokenizer
) -> dict[str, object]:
    """Pack one split into `{name}.rows` and `{name}.mask`; return its statistics."""
    row_tokens, folder = context.identity.row_tokens, context.output
    order = in_mixed_order(tasks, context.identity.seed)
    packer = BestFitPadPacker(row_tokens, tokenizer.bos)
    with (
        RowsWriter(folder, f"{name}.rows", row_tokens, tokenizer.vocabulary_size) as rows,
        RowsWriter(folder, f"{name}.mask", row_tokens, MASK_VALUES) as masks,
    ):
        for row in packer.pack(_rendered(order, tokenizer, row_tokens, context.report, name)):
            rows.append(row.tokens)
            masks.append(row.mask)
    for task in tasks:
        context.report.log(f"{name}, {task.task.name}: {task.counts}")
    counts = [task.counts for task in tasks]
    return {
        "rows": packer.rows,
        "conversations": sum(count.conversations for count in counts),
        "supervised_tokens": sum(count.supervised_tokens for count in counts),
        "padding_share": packer.padding_share,
        "truncated": sum(count.truncated for count in counts),
        "dropped": packer.dropped,
        "tasks": {task.task.name: task.counts.listing() for task in tasks},
    }


def _rendered(
    order: Sequence[tuple[OpenTask, int]], tokenizer: Tokenizer, max_tokens: int, report: Reporter, name: str
) -> Iterator[Rendered]:
    for done, (task, index) in enumerate(order, start=1):
        rendered = render(task.examples[index], tokenizer, max_tokens)
        task.counts.add(rendered)
        report.progress(done, len(order), "conversations", name)
        yield rendered


def _held_out(tasks: Sequence[OpenTask]) -> Iterator[HeldOut]:
    for task in tasks:
        for index in range(len(task.examples)):
            yield HeldOut(task.task.name, task.task.unique_answer, task.examples[index])
