"""Evaluating a vocabulary: recorded references belong to the texts that are there, bytes per token are exact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.data.tokenizer import Tokenizer
from core.data.tokenizer_evaluation import TEXTS, described, evaluate, references, text_of
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN


def test_the_references_were_counted_on_the_texts_that_are_there() -> None:
    recorded = references()
    assert tuple(text.name for text in recorded.texts) == TEXTS
    for text in recorded.texts:
        assert described(text.name, text.tokens) == text
        assert text.tokens.keys() == recorded.vocabulary_sizes.keys() == {"gpt2", "cl100k_base"}


def test_a_vocabulary_of_bytes_has_one_byte_a_token() -> None:
    tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, {bytes([byte]): byte for byte in range(256)})
    assert {one.text: one.bytes_per_token for one in evaluate(tokenizer)} == dict.fromkeys(TEXTS, 1.0)


def test_a_vocabulary_is_measured_beside_the_references(docs_tokenizer: Any) -> None:
    made = docs_tokenizer
    evaluation = json.loads((made.folder / "evaluation.json").read_text())["texts"]
    tokenizer = Tokenizer.load(made.folder)
    for measured, recorded in zip(evaluation, references().texts, strict=True):
        tokens = len(tokenizer.encode(text_of(recorded.name)))
        assert (measured["tokens"], measured["bytes_per_token"]) == (tokens, recorded.bytes / tokens)
        assert measured["references"]["gpt2"] == recorded.bytes / recorded.tokens["gpt2"]
        assert made.metrics["bytes_per_token"][recorded.name] == pytest.approx(recorded.bytes / tokens, abs=1e-3)
    assert f"news: {evaluation[0]['bytes_per_token']:.2f} bytes a token (gpt2 4.44, cl100k_base 4.50)" in made.log
