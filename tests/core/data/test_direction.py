"""Directions: every document says how it is read, reversal undoes itself, and nothing but its place turns the coin."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import pack
from core.data.direction import DirectionPolicy, packed_row_sets, readings
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import StageError
from core.stages.identity import PackIdentity

TOKENIZER = Tokenizer(SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), {bytes([byte]): byte for byte in range(256)})
BOS = TOKENIZER.bos
FORWARD, BACKWARD = (TOKENIZER.special(name) for name in DIRECTION_TOKENS)
ROW_TOKENS = 40
WORDS = st.text("abcdefgh ", min_size=1, max_size=60)


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    TOKENIZER.save(folder)
    return folder


def identity(direction: str, shards: tuple[int, int] = (0, 1), seed: int = 42) -> PackIdentity:
    return PackIdentity(
        row_tokens=ROW_TOKENS,
        algorithm="best-fit-crop",
        buffer_documents=10,
        direction=direction,
        direction_seed=seed,
        first_shard=shards[0],
        end_shard=shards[1],
    )


def pieces(rows: np.ndarray) -> list[list[int]]:
    """What stands between one BOS and the next, row by row."""
    found = []
    for row in rows.tolist():
        starts = [index for index, token in enumerate(row) if token == BOS] + [len(row)]
        found += [row[first + 1 : end] for first, end in pairwise(starts)]
    return found


def documents(count: int, offset: int = 0) -> list[str]:
    """Texts of 5 to 34 bytes, each of which names itself and reads differently from its end."""
    return [f"{number:04d}>" + "x" * (number * 7 % 30) for number in range(offset, offset + count)]


def ways_by_place(rows: np.ndarray) -> dict[tuple[int, int], str]:
    """The names of the documents that were packed whole enough to name themselves, by row and number in it."""
    found = {}
    for row, tokens in enumerate(rows):
        for number, piece in enumerate(pieces(tokens[None])):
            for name in ways(np.array([[BOS, *piece]])):
                found[row, number] = name
    return found


def ways(rows: np.ndarray) -> dict[str, int]:
    """The direction token of every document that was packed whole enough to name itself, by the name."""
    found = {}
    for mark, *text in (piece for piece in pieces(rows) if piece):
        shown = TOKENIZER.decode(text if mark == FORWARD else text[::-1])
        if ">" in shown and len(shown.partition(">")[0]) == 4:
            found[shown[:4]] = mark
    return found


@given(st.sampled_from(["forward", "backward", "bidirectional"]), st.lists(st.integers(0, 255)))
def test_every_reading_gives_the_document_back_and_backward_is_its_reverse(direction: Any, ids: list[int]) -> None:
    tokens = np.array(ids, dtype=np.uint32)
    for way, reading in readings(direction, TOKENIZER).items():
        sequence = reading.sequence(tokens)
        assert reading.tokens(sequence).tolist() == ids
        mark = FORWARD if way == "forward" else BACKWARD
        assert sequence.tolist() == [BOS, mark, *(ids if way == "forward" else ids[::-1])]


def test_a_vocabulary_without_direction_tokens_reads_forward_without_a_mark() -> None:
    plain = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, TOKENIZER.ranks)
    (reading,) = readings("forward", plain).values()
    assert reading.sequence(np.array([7, 8], np.uint32)).tolist() == [plain.bos, 7, 8]
    with pytest.raises(StageError, match=r"no special token <\|backward\|>"):
        readings("backward", plain)


def test_with_one_vocabulary_all_directions_have_the_same_documents_in_the_same_places(
    make: Callable, corpus_of: Callable, tokenizer_folder: Path
) -> None:
    corpus = corpus_of(documents(300))
    packed = {
        direction: Rows.open(make(pack, identity(direction), tokenizer=tokenizer_folder, corpus=corpus).folder)[:]
        for direction in ("forward", "backward", "bidirectional")
    }
    begins = {direction: (rows == BOS).tolist() for direction, rows in packed.items()}
    assert begins["forward"] == begins["backward"] == begins["bidirectional"]
    ahead, behind, both = (ways_by_place(packed[direction]) for direction in begins)
    shared = ahead.keys() & behind.keys()
    assert len(shared) > 100
    assert all(ahead[place] == behind[place] for place in shared)
    assert all(both[place] == ahead[place] for place in both.keys() & shared)


@given(st.lists(WORDS, min_size=1, max_size=30), st.integers(0, 5), st.integers(0, 10**6))
def test_a_bidirectional_document_has_its_direction_at_index_1_and_its_text_behind_it(
    texts: list[str], shard: int, seed: int
) -> None:
    policy = packed_row_sets("bidirectional", TOKENIZER, seed)["rows"]
    for row, text in enumerate(texts):
        sequence = policy.reading(shard, row).sequence(TOKENIZER.encode_array(text)).tolist()
        assert sequence[0] == BOS
        assert sequence[1] in (FORWARD, BACKWARD)
        assert TOKENIZER.decode(sequence[2:] if sequence[1] == FORWARD else sequence[:1:-1]) == text


@given(st.integers(0, 10**9), st.integers(0, 6542))
def test_the_coin_is_fair_and_another_seed_or_shard_throws_again(seed: int, shard: int) -> None:
    policy = DirectionPolicy(tuple(readings("bidirectional", TOKENIZER).values()), seed)
    thrown = [policy.reading(shard, row).stride for row in range(2000)]
    assert abs(sum(thrown)) < 6 * 2000**0.5  # six standard deviations
    other = DirectionPolicy(policy.readings, seed + 1)
    assert [other.reading(shard, row).stride for row in range(2000)] != thrown
    assert [policy.reading(shard + 1, row).stride for row in range(2000)] != thrown


def test_rows_of_both_directions_hold_no_document_without_its_mark(
    make: Callable, corpus_of: Callable, tokenizer_folder: Path
) -> None:
    corpus = corpus_of(documents(400))
    rows = Rows.open(make(pack, identity("bidirectional"), tokenizer=tokenizer_folder, corpus=corpus).folder)[:]
    marks = [piece[0] for piece in pieces(rows) if piece]
    assert set(marks) == {FORWARD, BACKWARD}
    assert all(token < BOS for piece in pieces(rows) for token in piece[1:])
    assert 0.35 < marks.count(BACKWARD) / len(marks) < 0.65


def test_neither_groups_nor_empty_documents_change_the_direction_of_a_document(
    make: Callable, corpus_of: Callable, tokenizer_folder: Path
) -> None:
    shards = documents(200), ["", *documents(200, offset=1000)]
    corpus = corpus_of(*shards)

    def packed(first: int, end: int) -> dict[str, int]:
        made = make(pack, identity("bidirectional", (first, end)), tokenizer=tokenizer_folder, corpus=corpus)
        return ways(Rows.open(made.folder)[:])

    apart, together = packed(0, 1) | packed(1, 2), packed(0, 2)
    shared = apart.keys() & together.keys()
    assert len(shared) > 200
    assert {name: apart[name] for name in shared} == {name: together[name] for name in shared}
    policy = packed_row_sets("bidirectional", TOKENIZER, 42)["rows"]
    assert all(
        apart[f"{1000 + row:04d}"] == policy.reading(1, row + 1).opening[1]
        for row in range(200)
        if f"{1000 + row:04d}" in apart
    )


def test_measuring_rows_hold_the_same_documents_in_the_same_places_each_way(
    make: Callable, corpus_of: Callable, tokenizer_folder: Path
) -> None:
    made = make(pack, identity("each"), tokenizer=tokenizer_folder, corpus=corpus_of(documents(300)))
    forward, backward = (Rows.open(made.folder, f"{way}.rows") for way in ("forward", "backward"))
    assert forward.statistics == backward.statistics
    assert made.metrics["rows"] == forward.count == backward.count
    assert made.metrics["characters_per_token"] == 1.0, "opening tokens are no text"
    ahead, behind = pieces(forward[:]), pieces(backward[:])
    assert [len(piece) for piece in ahead] == [len(piece) for piece in behind]
    assert {piece[0] for piece in ahead if piece} == {FORWARD}
    assert {piece[0] for piece in behind if piece} == {BACKWARD}
    whole = [(one, other) for one, other in zip(ahead, behind, strict=True) if sorted(one[1:]) == sorted(other[1:])]
    assert len(whole) > 100
    assert all(one[1:] == other[:0:-1] for one, other in whole)


def test_the_number_of_threads_changes_no_byte(
    make: Callable, corpus_of: Callable, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, made = corpus_of(documents(500), documents(90, offset=2000)), []
    for threads in (1, 5):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        made.append(make(pack, identity("bidirectional", (0, 2)), tokenizer=tokenizer_folder, corpus=corpus).folder)
    assert (made[0] / "rows.bin").read_bytes() == (made[1] / "rows.bin").read_bytes()
    assert (made[0] / "rows.json").read_bytes() == (made[1] / "rows.json").read_bytes()
