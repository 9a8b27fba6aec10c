"""Training a tokenizer: only training text counts, limits hold, and a vocabulary that cannot be had is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.data import tokenizer_training
from core.data.tokenizer import Tokenizer
from core.stages.context import StageError

WORDS = [f"word{chr(97 + i)}{chr(97 + j)} is one of many words" for i in range(26) for j in range(26)]


def test_validation_text_does_not_reach_the_vocabulary(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    corpus = corpus_of(WORDS, ["zebrazebra"] * 1000, validation_shard=1)
    made = make(tokenizer_training, tokenizer_identity(vocabulary_size=300), corpus=corpus)
    assert b"zebra" not in b" ".join(Tokenizer.load(made.folder).ranks)
    assert made.metrics["documents"] == len(WORDS)


def test_documents_are_capped_and_reading_stops_at_the_limit(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    corpus = corpus_of(["the end of the line and " * 10 + "qqqqqqqqqq" * 100] * 5, ["never read"] * 9)
    identity = tokenizer_identity(vocabulary_size=270, document_cap=200, max_characters=450)
    made = make(tokenizer_training, identity, corpus=corpus)
    assert (made.metrics["documents"], made.metrics["characters"]) == (3, 450)
    assert b"qq" not in Tokenizer.load(made.folder).ranks


def test_the_vocabulary_does_not_depend_on_the_order_of_documents(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    identity = tokenizer_identity(vocabulary_size=400)
    made = [
        make(tokenizer_training, identity, corpus=corpus_of(documents)).folder
        for documents in (WORDS, list(reversed(WORDS)))
    ]
    assert (made[0] / "ranks.tiktoken").read_bytes() == (made[1] / "ranks.tiktoken").read_bytes()


def test_a_corpus_too_small_for_the_vocabulary_is_refused(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    with pytest.raises(
        StageError, match=r"^11 characters of training text give \d merges of the 247 that .* 512 needs"
    ):
        make(tokenizer_training, tokenizer_identity(), corpus=corpus_of(["hello world"]))


def test_a_corpus_of_validation_text_alone_is_refused(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    with pytest.raises(StageError, match="0 characters of training text"):
        make(tokenizer_training, tokenizer_identity(), corpus=corpus_of(WORDS, validation_shard=0))


def test_a_vocabulary_without_room_for_bytes_is_refused(
    make: Callable, corpus_of: Callable, tokenizer_identity: Callable
) -> None:
    with pytest.raises(StageError, match="use at least 265"):
        make(tokenizer_training, tokenizer_identity(vocabulary_size=264), corpus=corpus_of(WORDS))
    made = make(tokenizer_training, tokenizer_identity(vocabulary_size=265), corpus=corpus_of(WORDS))
    assert Tokenizer.load(made.folder).encode("abc") == [97, 98, 99]


def test_a_folder_that_is_no_corpus_is_named(make: Callable, tmp_path: Path, tokenizer_identity: Callable) -> None:
    with pytest.raises(StageError, match=r"corpus\.json is missing"):
        make(tokenizer_training, tokenizer_identity(), corpus=tmp_path)
