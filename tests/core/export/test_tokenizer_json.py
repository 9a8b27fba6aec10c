"""tokenizer.json gives the ids of the trained tokenizer for every text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HubTokenizer

from core.data.tokenizer import Tokenizer
from core.export.tokenizer_json import (
    check_identity,
    hub_tokenizer,
    printable_bytes,
    recover_merge,
    write_tokenizer_json,
)
from core.stages.context import StageError

TRICKY = st.sampled_from(
    ["  ", "\n", "\r\n", "\t", "'s", "'LL", "12345", "é", "e\u0301", "\u200d", "☕️", "你好", "__", "fox"]
)
TEXTS = st.one_of(st.text(), st.lists(st.one_of(TRICKY, st.text(max_size=4))).map("".join))


@pytest.fixture(scope="module")
def hub(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    """The converted tokenizer, through its file; text that spells a special token stays text."""
    path = tmp_path_factory.mktemp("hub") / "tokenizer.json"
    write_tokenizer_json(tokenizer, path)
    hub = HubTokenizer.from_file(str(path))
    hub.encode_special_tokens = True
    return hub


@settings(max_examples=1000, deadline=None)
@given(text=TEXTS)
def test_any_text_has_the_same_ids_and_comes_back(tokenizer: Tokenizer, hub: HubTokenizer, text: str) -> None:
    ids = hub.encode(text, add_special_tokens=False).ids
    assert ids == tokenizer.encode(text)
    assert hub.decode(ids) == text


def test_every_code_point_between_words_has_the_same_ids(tokenizer: Tokenizer, hub: HubTokenizer) -> None:
    points = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000][::37]
    texts = [f"fox {point}1{point}'s\n{point}" for point in points]
    theirs = [encoding.ids for encoding in hub.encode_batch(texts, add_special_tokens=False)]
    assert theirs == [tokenizer.encode(text) for text in texts]


def test_plain_encoding_begins_with_bos(tokenizer: Tokenizer) -> None:
    hub = hub_tokenizer(tokenizer)
    assert hub.encode("fox").ids == [tokenizer.bos, *tokenizer.encode("fox")]


def test_special_tokens_keep_their_ids(tokenizer: Tokenizer) -> None:
    hub = hub_tokenizer(tokenizer)
    assert [hub.token_to_id(name) for name in tokenizer.special_tokens] == list(range(391, 400))


def test_every_byte_has_its_own_printable_character() -> None:
    alphabet = printable_bytes()
    assert len(set(alphabet.values())) == 256
    assert all(character.isprintable() and not character.isspace() for character in alphabet.values())
    assert (alphabet[0x41], alphabet[0x20], alphabet[0x0A]) == ("A", "\u0120", "\u010a")


def test_a_token_that_no_merge_made_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(StageError, match="cannot be made by merging"):
        recover_merge(b"\x01\x02\x03", {**tokenizer.ranks, b"\x01\x02\x03": 999})


def test_a_difference_is_found_and_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    write_tokenizer_json(tokenizer, path)
    document = json.loads(path.read_text())
    document["model"]["merges"] = document["model"]["merges"][:50]
    with pytest.raises(StageError, match=r"tokenizer\.json gives '.*' the ids"):
        check_identity(tokenizer, HubTokenizer.from_str(json.dumps(document)), ["The quick brown fox"])
    renamed = replace(tokenizer, special_tokens=tokenizer.special_tokens[::-1])
    with pytest.raises(StageError, match=r"<\|output_end\|> became id 399"):
        check_identity(renamed, HubTokenizer.from_file(str(path)), [])
