"""What a fine-tuning task is: examples by index, for training and for validation, the same for every run.

A task made by a program draws example i from a generator seeded with the task's name and i; validation counts from
10,000,000, so the two splits never share a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from core.posttraining.conversation import Conversation
from core.posttraining.tasks.judge import Judge
from core.posttraining.words import Words
from core.recipes.recipe import Persona
from core.stages.context import StageError

Split = Literal["training", "validation"]

VALIDATION_OFFSET = 10_000_000


@dataclass(frozen=True)
class Exercise(Conversation):
    """A conversation that ends in a reference answer, with what judging another answer takes beside it."""

    letters: tuple[str, ...] = ()  # multiple choice: those between which this question chooses
    checks: str = ""  # programming: a program that raises unless the answer before it is right


class Examples(Protocol):
    """Conversations by index, made or parsed when asked for."""

    @property
    def origin(self) -> str:
        """Where they come from, for the record."""

    @property
    def skipped(self) -> int:
        """Rows at their origin that are none: left out."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Conversation: ...


@dataclass(frozen=True)
class Material:
    """What some tasks are made of."""

    words: Words
    persona: Persona | None = None


class Task(Protocol):
    """One row of the table of tasks."""

    @property
    def name(self) -> str:
        """Its name in a recipe."""

    @property
    def unique_answer(self) -> bool:
        """Whether the question decides the answer to the letter, so that an exact match means correct."""

    @property
    def judge(self) -> Judge | None:
        """How answers to its questions are judged; None: they are not."""

    def open(self, split: Split, rows: int | None, material: Material) -> Examples:
        """The first `rows` examples (None: all); raise `StageError` when they cannot be had."""


@dataclass(frozen=True, kw_only=True)
class GeneratedTask:
    """A task made by a program. `make` draws one conversation from a generator and the words of the split."""

    name: str
    unique_answer: bool
    judge: Judge | None
    all_rows: int | None  # how many "all" are; None: endless
    make: Callable[[random.Random, Sequence[str]], Conversation]

    def open(self, split: Split, rows: int | None, material: Material) -> Examples:
        """The first `rows` of an endless sequence; raise `StageError` when none are asked of one that has no end."""
        count = self.all_rows if rows is None else rows
        if count is None:
            raise StageError(f"task {self.name} has no end; say in the recipe how many rows of it to use")
        words = material.words.training if split == "training" else material.words.validation
        return Generated(self.name, lambda generator: self.make(generator, words), split, count)


@dataclass(frozen=True)
class Generated:
    """The first `count` examples that a program draws, each from a generator of its own."""

    name: str
    draw: Callable[[random.Random], Conversation]
    split: Split
    count: int
    origin = "generated"
    skipped = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Conversation:
        number = index + (VALIDATION_OFFSET if self.split == "validation" else 0)
        return self.draw(random.Random(f"{self.name}/{number}"))
