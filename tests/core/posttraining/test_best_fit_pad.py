"""Best-fit padding against a plain scan of the buffer, and what must hold for any conversations."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.posttraining.best_fit_pad import BestFitPadPacker
from core.posttraining.rendering import Rendered

BOS = 0
CAPACITY = 12


def conversations_of(masks: list[list[int]]) -> list[Rendered]:
    """Conversations that begin with BOS, whose other tokens are all different, with the given masks after BOS."""
    fresh = iter(range(1, 10_000))
    return [Rendered((BOS, *(next(fresh) for _ in mask)), (0, *mask), cut=0) for mask in masks]


def scan(conversations: list[Rendered], buffer_conversations: int) -> list[list[int]]:
    """The rule as one would say it: look at the whole buffer for every choice."""
    waiting, buffer, rows, row = [each for each in conversations if any(each.mask)], [], [], []
    while True:
        while waiting and len(buffer) < buffer_conversations:
            buffer.append(waiting.pop(0))
        fitting = [each for each in buffer if len(each) <= CAPACITY - len(row)]
        if fitting:
            chosen = max(fitting, key=len)  # the first of equals
            buffer.remove(chosen)
            row += chosen.tokens
        elif row:
            rows.append(row + [BOS] * (CAPACITY - len(row)))
            row = []
        else:
            return rows


masks = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=CAPACITY - 1), max_size=40)
buffers = st.integers(1, 9)


@given(masks, buffers)
@example([[1, 1], [1, 1], [1, 1]], 3)
def test_rows_are_those_of_a_plain_scan(masks: list[list[int]], buffer: int) -> None:
    conversations = conversations_of(masks)
    rows = BestFitPadPacker(CAPACITY, BOS, buffer).pack(conversations)
    assert [row.tokens.tolist() for row in rows] == scan(conversations, buffer)


@given(masks, buffers)
def test_no_conversation_is_lost_or_repeated_and_padding_is_never_supervised(
    masks: list[list[int]], buffer: int
) -> None:
    conversations = conversations_of(masks)
    packer = BestFitPadPacker(CAPACITY, BOS, buffer)
    rows = list(packer.pack(conversations))
    packed: dict[tuple[int, ...], tuple[int, ...]] = {}
    padding = 0
    for row in rows:
        tokens, mask = row.tokens.tolist(), row.mask.tolist()
        assert len(tokens) == len(mask) == CAPACITY
        assert sum(mask) > 0
        starts = [index for index, token in enumerate(tokens) if token == BOS] + [CAPACITY]
        for start, end in pairwise(starts):
            if end - start == 1:
                padding += 1
                assert mask[start] == 0
            else:
                packed[tuple(tokens[start:end])] = tuple(mask[start:end])
    teaching = [each for each in conversations if each.supervised]
    assert packed == {each.tokens: each.mask for each in teaching}
    assert packer.dropped == len(conversations) - len(teaching)
    assert packer.padding == padding == len(rows) * CAPACITY - sum(map(len, teaching))
    assert packer.padding_share == (padding / (len(rows) * CAPACITY) if rows else 0.0)


def test_a_conversation_longer_than_a_row_is_refused() -> None:
    too_long = conversations_of([[1] * CAPACITY])
    with pytest.raises(ValueError, match=r"13 tokens exceeds a row of 12"):
        list(BestFitPadPacker(CAPACITY, BOS).pack(too_long))
