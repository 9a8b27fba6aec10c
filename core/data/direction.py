"""The direction seam: how the tokens of one document become the sequence that is packed.

`forward` is [bos, tokens]. Where the vocabulary has direction tokens, every document says how it is read:
[bos, <|forward|>, tokens] or [bos, <|backward|>, tokens from the last to the first], one token more in each, also for a
model that reads one way only: with one vocabulary, the documents of all three directions have the same lengths and so
are packed into the same rows. In `bidirectional` rows a coin decides for each document. The coin is a function of the
seed and of the document's place in the corpus (shard and row), so neither groups nor the order of packing change it.
Packing knows nothing of all this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import numpy as np

from core.data.best_fit import Tokens
from core.data.tokenizer import Tokenizer
from core.recipes.recipe import Direction
from core.recipes.vocabulary import BACKWARD, FORWARD
from core.stages.identity import PackedDirection

Way = Literal["forward", "backward"]


@dataclass(frozen=True)
class Reading:
    """One way to read a document: what stands before its tokens, and whether they come from its end."""

    opening: tuple[int, ...]  # bos, and the direction token where there is one
    stride: Literal[1, -1]

    @cached_property
    def _opening(self) -> Tokens:
        return np.array(self.opening, dtype=np.uint32)

    def sequence(self, tokens: Tokens) -> Tokens:
        """What is packed for a document of `tokens` [n]: uint32 [len(opening) + n]."""
        return np.concatenate((self._opening, tokens[:: self.stride]))

    def tokens(self, sequence: Tokens) -> Tokens:
        """The document's tokens in the order of its text: undoes `sequence`."""
        return sequence[len(self.opening) :][:: self.stride]


def readings(direction: Direction, tokenizer: Tokenizer) -> Mapping[Way, Reading]:
    """The ways in which a model of `direction` reads; raise `StageError` when the vocabulary has no token for one."""
    if direction == "forward" and FORWARD not in tokenizer.special_tokens:
        return {"forward": Reading((tokenizer.bos,), 1)}
    ways: tuple[Way, ...] = ("forward", "backward") if direction == "bidirectional" else (direction,)
    return {way: _marked(way, tokenizer) for way in ways}


def _marked(way: Way, tokenizer: Tokenizer) -> Reading:
    forward = way == "forward"
    return Reading((tokenizer.bos, tokenizer.special(FORWARD if forward else BACKWARD)), 1 if forward else -1)


@dataclass(frozen=True)
class DirectionPolicy:
    """Which way each document of a corpus is read."""

    readings: tuple[Reading, ...]  # one, or two to choose from
    seed: int

    @property
    def opening_tokens(self) -> int:
        """How many tokens stand before those of a document's text."""
        return len(self.readings[0].opening)

    def reading(self, shard: int, row: int) -> Reading:
        """The way of the document in `row` of the file of `shard`; with two ways, each for half of the documents."""
        if len(self.readings) == 1:
            return self.readings[0]
        coin = blake2b(f"{self.seed} {shard} {row}".encode(), digest_size=1).digest()[0]
        return self.readings[coin % len(self.readings)]


def packed_row_sets(direction: PackedDirection, tokenizer: Tokenizer, seed: int) -> dict[str, DirectionPolicy]:
    """The row sets of a pack artifact, by name: `rows`, or `forward.rows` and `backward.rows` of the same documents."""
    if direction == "each":
        each = readings("bidirectional", tokenizer)
        return {f"{way}.rows": DirectionPolicy((reading,), seed) for way, reading in each.items()}
    return {"rows": DirectionPolicy(tuple(readings(direction, tokenizer).values()), seed)}


def measured_row_sets(direction: Direction) -> Mapping[Way, str]:
    """On which row set of a validation artifact a model of `direction` is measured, for each way it reads.

    Both ways read the first tokens of each document as they read it, so a document that is cropped lends its beginning
    to one and its end to the other: each is measured as it was trained, on as many tokens of the same documents.
    """
    if direction == "bidirectional":
        return {"forward": "forward.rows", "backward": "backward.rows"}
    return {direction: "rows"}
