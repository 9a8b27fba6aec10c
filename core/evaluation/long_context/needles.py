"""Needles in a haystack: sentences to be found again in a long text, as trials of an exact number of tokens.

    single        one number of one thing
    multi-key     the numbers of four things, one of which is asked for
    multi-value   four numbers of one thing, all of which are asked for
    multi-query   the numbers of four things, all of which are asked for
    passkey       one number in the same two sentences over and over

The first needle stands at the trial's depth (0: before the text, 1: behind it), the others at random ones. Each is
inserted between two tokens, as a line of its own, and what it says is nowhere else in the text. A trial is a function
of the seed, its kind, length and number: whoever asks, and whatever was asked before.

A prompt and the room for an answer together are as long as the trial says. A fine-tuned model is asked in a
conversation, a base model by the beginning of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb, floor
from random import Random
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.haystack import Haystack

Kind = Literal["single", "multi-key", "multi-value", "multi-query", "passkey"]
KINDS: tuple[Kind, ...] = ("single", "multi-key", "multi-value", "multi-query", "passkey")

MANY = 4  # needles of a trial that has several
DIGITS = 5
THINGS = (
    *("apple", "basket", "bell", "boat", "book", "bottle", "bridge", "candle", "carpet", "castle", "chair", "clock"),
    *("coat", "coin", "cup", "desk", "door", "drum", "engine", "fence", "flag", "forest", "garden", "glove", "guitar"),
    *("hammer", "harbour", "hat", "horse", "island", "jacket", "kettle", "ladder", "lamp", "lemon", "letter", "mirror"),
    *("mountain", "needle", "oven", "painting", "piano", "pillow", "ribbon", "rocket", "shovel", "spoon", "statue"),
    *("table", "tent", "ticket", "tower", "train", "tree", "umbrella", "vase", "violin", "wagon", "whistle", "window"),
)


class TooShortError(ValueError):
    """A trial does not fit into so few tokens."""


@dataclass(frozen=True, kw_only=True)
class Needle:
    """A sentence of the text, and where it is: `place` is the index of its first token in the prompt."""

    text: str
    depth: float  # share of the text that stands before it
    place: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """One thing to be said: after `lead`, those of `candidates` that are `wanted`."""

    lead: str
    wanted: tuple[str, ...]
    candidates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a model is shown, and what it should say; queries follow one another, each after the right answer."""

    kind: str
    number: int
    length: int  # tokens of prompt and room together
    depth: float  # of the first needle
    needles: tuple[Needle, ...]  # in the order of the text
    prompt: tuple[int, ...]
    queries: tuple[Query, ...]

    @property
    def chance(self) -> float:
        """How often blind guessing would be right in all queries."""
        chance = 1.0
        for query in self.queries:
            chance /= comb(len(query.candidates), len(query.wanted))
        return chance


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around text and question: tokens that open the prompt, and those behind the question."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    asks: bool  # with a question; otherwise the answer's beginning follows the text at once


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """What a trial is about, before there is any text: needles (the first at the trial's depth), question, queries."""

    needles: tuple[str, ...]
    question: str
    queries: tuple[Query, ...]


@dataclass(frozen=True, kw_only=True)
class NeedleTrials:
    """Makes trials, all alike but for kind, length and number."""

    tokenizer: Tokenizer
    frame: Frame
    held_out: Haystack
    filler: Haystack
    room: int  # tokens that are left for an answer
    choices: int  # candidates of which one is right
    depths: int  # trials are spread over as many, evenly from 0 to 1
    seed: int

    def trial(self, kind: Kind, length: int, number: int) -> Trial:
        """One trial; raises `TooShortError` when it does not fit."""
        random = Random(f"{self.seed} {kind} {length} {number}")
        haystack = self.filler if kind == "passkey" else self.held_out
        passage = haystack.passage(random, length)
        puzzle = make_puzzle(kind, random, self.tokenizer.decode(passage.tolist()), self.choices)
        return self.hide(kind, puzzle, passage, length, number, random)

    def hide(
        self, kind: str, puzzle: Puzzle, passage: npt.NDArray[np.int64], length: int, number: int, random: Random
    ) -> Trial:
        """Put a puzzle into as much of `passage` as fits."""
        encode = self.tokenizer.encode
        sentences = [encode(f"\n{needle}\n") for needle in puzzle.needles]
        question = encode(f"\n\n{puzzle.question}") if self.frame.asks else []
        fixed = len(self.frame.before) + sum(map(len, sentences)) + len(question) + len(self.frame.after)
        text_tokens = length - self.room - fixed
        self._check_room(puzzle, text_tokens, length)
        depths = [self.depth(number), *(random.random() for _ in sentences[1:])]
        prompt, needles = list(self.frame.before), []
        cuts = sorted((floor(depth * text_tokens), index) for index, depth in enumerate(depths))
        done = 0
        for cut, index in cuts:
            prompt += passage[done:cut].tolist()
            needles.append(Needle(text=puzzle.needles[index], depth=depths[index], place=len(prompt)))
            prompt += sentences[index]
            done = cut
        prompt += [*passage[done:text_tokens].tolist(), *question, *self.frame.after]
        return Trial(
            kind=kind,
            number=number,
            length=length,
            depth=depths[0],
            needles=tuple(needles),
            prompt=tuple(prompt),
            queries=puzzle.queries,
        )

    def depth(self, number: int) -> float:
        """Where the first needle of a trial stands."""
        return (number % self.depths) / (self.depths - 1) if self.depths > 1 else 0.5

    def _check_room(self, puzzle: Puzzle, text_tokens: int, length: int) -> None:
        encode = self.tokenizer.encode
        answer = sum(
            len(encode(query.lead)) + max(len(encode(f" {candidate}")) for candidate in query.candidates) + 1
            for query in puzzle.queries
        )
        if text_tokens < len(puzzle.needles):
            raise TooShortError(f"{length:,} tokens leave no text between needles, question and answer")
        if answer > self.room:
            raise TooShortError(f"the answer takes up to {answer:,} tokens, {self.room:,} are left for it")


def make_puzzle(kind: Kind, random: Random, text: str, choices: int) -> Puzzle:
    """Things and numbers that are nowhere in `text`."""
    if kind == "passkey":
        values = _numbers(random, text, choices)
        query = Query(lead="The pass key is", wanted=(values[0],), candidates=_shuffled(random, values))
        return Puzzle(
            needles=(f"The pass key is {values[0]}. Remember it.",), question="What is the pass key?", queries=(query,)
        )
    things = _things(random, text)
    if kind == "multi-value":
        return _several_values(things[0], random, text, choices)
    count = 1 if kind == "single" else MANY
    values = _numbers(random, text, count + choices)
    numbers = dict(zip(things[:count], values[:count], strict=True))
    asked = things[:count] if kind == "multi-query" else things[:1]
    return Puzzle(
        needles=tuple(_sentence(thing, number) for thing, number in numbers.items()),
        question=_question(asked),
        queries=_chain(asked, numbers, values[count:], random, choices),
    )


def _several_values(thing: str, random: Random, text: str, choices: int) -> Puzzle:
    values = _numbers(random, text, MANY + choices - 1)
    wanted = tuple(values[:MANY])
    query = Query(lead=_lead(thing), wanted=wanted, candidates=_shuffled(random, values))
    question = f"What are all the numbers of the {thing}?"
    return Puzzle(needles=tuple(_sentence(thing, value) for value in wanted), question=question, queries=(query,))


def _chain(
    asked: Sequence[str], numbers: Mapping[str, str], others: Sequence[str], random: Random, choices: int
) -> tuple[Query, ...]:
    """A query for each thing. Its distractors are the other numbers of the text, then those that are nowhere."""
    leads = [_lead(asked[0]), *(f" {numbers[before]}. {_lead(thing)}" for before, thing in pairwise(asked))]
    queries = []
    for thing, lead in zip(asked, leads, strict=True):
        right = numbers[thing]
        wrong = [*(number for number in numbers.values() if number != right), *others][: choices - 1]
        queries.append(Query(lead=lead, wanted=(right,), candidates=_shuffled(random, [right, *wrong])))
    return tuple(queries)


def _sentence(thing: str, number: str) -> str:
    return f"{_lead(thing)} {number}."


def _lead(thing: str) -> str:
    return f"The number of the {thing} is"


def _question(things: Sequence[str]) -> str:
    if len(things) == 1:
        return f"What is the number of the {things[0]}?"
    return f"What are the numbers of the {', the '.join(things[:-1])} and the {things[-1]}?"


def _things(random: Random, text: str) -> list[str]:
    """All things of which the text does not speak as needles do, in random order."""
    free = [thing for thing in THINGS if _lead(thing) not in text]
    return random.sample(free, len(free))


def _numbers(random: Random, text: str, count: int) -> list[str]:
    """Different numbers of `DIGITS` digits that do not stand in the text."""
    found: dict[str, None] = {}
    while len(found) < count:
        number = str(random.randrange(10 ** (DIGITS - 1), 10**DIGITS))
        if number not in text:
            found[number] = None
    return list(found)


def _shuffled(random: Random, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(random.sample(values, len(values)))
