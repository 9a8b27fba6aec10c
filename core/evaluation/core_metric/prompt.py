"""From an example to token sequences: the shots before it, where its answer begins, and what does not fit.

A text is shots and question, joined by blank lines; each is the first part of an option, the task's delimiter and the
second part, of a shot those of its right option. What is compared between options is where they differ: in multiple
choice everything behind the tokens with which all options begin, in a schema the tokens with which all end. In language
modelling it is the tokens that come when the answer is appended; the text without it ends without white space, since
that white space is part of the answer's first token. Should the tokens of the text without the answer not begin those
of the text with it, the answer is taken to begin where the two part: the example is then counted as `unaligned`.

A text longer than the model's context loses its beginning, as in nanochat's evaluation, and is counted as `cropped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from random import Random

from core.data.tokenizer import Tokenizer
from core.evaluation.core_metric.bundle import Task
from core.evaluation.core_metric.example import Example, Option
from core.evaluation.core_metric.spans import Span

Tokens = Sequence[int]


@dataclass(frozen=True)
class Prompt:
    """A span for each option, the answer at its end."""

    spans: tuple[Span, ...]
    cropped: bool
    unaligned: bool


@dataclass(frozen=True, kw_only=True)
class Prompter:
    """Shows the examples of one task to one model."""

    task: Task
    examples: Sequence[Example]  # in the order that numbers them: question and shots come from these
    shots_seed: int  # question number i draws its shots by Random(shots_seed + i)
    tokenizer: Tokenizer
    opening: Tokens  # what a text begins with: bos, and the direction where the model is told one
    context_tokens: int  # T

    def prompt(self, number: int) -> Prompt:
        """Question `number` with its shots."""
        example, before = self.examples[number], self._shots(number)
        wholes = [self._tokens(before + self._joined(option)) for option in example.options]
        starts, unaligned = self._starts(wholes, before, example)
        spans = tuple(self._fitting(whole, start) for whole, start in zip(wholes, starts, strict=True))
        return Prompt(spans, any(len(whole) > self.context_tokens for whole in wholes), unaligned)

    def _shots(self, number: int) -> str:
        others = [other for other in range(len(self.examples)) if other != number]
        drawn = Random(self.shots_seed + number).sample(others, self.task.shots)
        solved = (self.examples[other] for other in drawn)
        return "".join(f"{self._joined(one.options[one.gold])}\n\n" for one in solved)

    def _joined(self, option: Option) -> str:
        return f"{option.before}{self.task.delimiter}{option.after}"

    def _tokens(self, text: str) -> list[int]:
        return [*self.opening, *self.tokenizer.encode(text)]

    def _starts(self, wholes: Sequence[Tokens], before: str, example: Example) -> tuple[list[int], bool]:
        """Where each option's answer begins, and whether that is not where the text without it ends."""
        if self.task.type == "language_modeling":
            question = self._tokens(f"{before}{example.options[0].before}{self.task.delimiter}".rstrip())
            (whole,) = wholes
            start = common_beginning([question, whole])
            return [min(start, len(whole) - 1)], start < len(question)
        shortest = min(map(len, wholes))
        if self.task.type == "multiple_choice":
            start = min(common_beginning(wholes), shortest - 1)  # at least one token is compared
            return [start] * len(wholes), False
        ending = common_beginning([whole[::-1] for whole in wholes])
        ending = max(1, min(ending, shortest - len(self.opening)))
        return [len(whole) - ending for whole in wholes], False

    def _fitting(self, whole: Tokens, start: int) -> Span:
        excess = max(0, len(whole) - self.context_tokens)
        return Span(tuple(whole[excess:]), max(1, start - excess))


def shuffled(examples: Sequence[Example], seed: int, most: int | None) -> tuple[list[Example], list[int]]:
    """The first `most` (None: all) of the examples as Random(seed) shuffles them, and their places in the file."""
    places = list(range(len(examples)))
    Random(seed).shuffle(places)
    chosen = places[:most]
    return [examples[place] for place in chosen], chosen


def common_beginning(sequences: Sequence[Tokens]) -> int:
    """How many tokens all sequences begin with alike."""
    first, *others = sequences
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(first, *others, strict=False)))
