"""The tokenizer at work: any text round-trips, special tokens never come from text, damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.data.tokenizer import Tokenizer
from core.recipes.vocabulary import SPECIAL_TOKENS
from core.stages.context import StageError


@pytest.fixture(scope="module")
def tokenizer(docs_tokenizer: Any) -> Tokenizer:
    return Tokenizer.load(docs_tokenizer.folder)


def test_any_text_round_trips(tokenizer: Tokenizer) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def round_trip(text: str) -> None:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(token < tokenizer.bos for token in ids)
        assert sum(tokenizer.token_bytes[token] for token in ids) == len(text.encode())

    round_trip()


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
def test_text_that_spells_a_special_token_stays_text(tokenizer: Tokenizer, name: str) -> None:
    ids = tokenizer.encode(f"say {name} twice {name}")
    assert tokenizer.special(name) not in ids
    assert tokenizer.decode(ids) == f"say {name} twice {name}"


def test_special_tokens_stand_at_the_top_in_order_and_have_no_bytes(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.special(name) for name in SPECIAL_TOKENS]
    assert ids == list(range(503, 512))
    assert tokenizer.bos == 503
    assert tokenizer.decode(ids) == "".join(SPECIAL_TOKENS)
    assert tokenizer.token_bytes.dtype == np.int32
    assert tokenizer.token_bytes[503:].tolist() == [0] * 9
    assert tokenizer.token_bytes[:503].min() == 1


def test_a_batch_equals_its_texts_one_by_one(tokenizer: Tokenizer) -> None:
    pieces = st.sampled_from(["", "def f(x):", "Ångström 1234", "\n\n  ", " ", "\x00", "\x1e", "\x01", *SPECIAL_TOKENS])

    @given(st.lists(st.lists(pieces, max_size=4).map("".join), max_size=5))
    @example(["a\x00\x1e", "\x1e\x01b", "\x00\x1e\x01", " "])
    def equal(texts: list[str]) -> None:
        expected = [tokenizer.encode(text) for text in texts]
        assert [tokenizer.encode_array(text).tolist() for text in texts] == expected
        assert [tokens.tolist() for tokens in tokenizer.encode_arrays(texts)] == expected

    equal()


def test_digits_are_split_in_pairs(tokenizer: Tokenizer) -> None:
    assert all(len(tokenizer.decode([token])) <= 2 for token in tokenizer.encode("1234567890"))


def test_an_unknown_special_token_is_named_with_the_known_ones(tokenizer: Tokenizer) -> None:
    with pytest.raises(StageError, match=r"no special token <\|forward\|>; it has <\|bos\|>"):
        tokenizer.special("<|forward|>")


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        ("ranks.tiktoken", None, "ranks.tiktoken is missing"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("ranks.tiktoken", "IQ== 0\nIg== 2\n", "is damaged: ranks.tiktoken: ranks are not 0 ... 1"),
        ("ranks.tiktoken", "IQ== 0\n", "has 10 tokens, tokenizer.json says 512"),
        ("ranks.tiktoken", "!!! 0\n", "is damaged"),
        ("tokenizer.json", "{", "is damaged"),
    ],
)
def test_a_damaged_folder_is_named(
    docs_tokenizer: Any, tmp_path: Path, file: str, contents: str | None, message: str
) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(docs_tokenizer.folder, folder)
    if contents is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(contents)
    with pytest.raises(StageError) as caught:
        Tokenizer.load(folder)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_stored_byte_lengths_are_those_of_the_tokens(docs_tokenizer: Any, tokenizer: Tokenizer) -> None:
    np.testing.assert_array_equal(np.load(docs_tokenizer.folder / "token_bytes.npy"), tokenizer.token_bytes)
    assert json.loads((docs_tokenizer.folder / "tokenizer.json").read_text())["vocabulary_size"] == 512
