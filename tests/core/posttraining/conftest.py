"""A tokenizer small enough to read, conversations of every shape, and corpora by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.tokenizer import Tokenizer
from core.posttraining.conversation import Conversation, Part, assistant, user
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

TEXT = st.one_of(st.text(max_size=12), st.sampled_from(["", "ababab", " cab ", *SPECIAL_TOKENS, "a<|bos|>b"]))
PARTS = st.builds(Part, st.sampled_from(["text", "text", "python", "python_output"]), TEXT)
ANSWERS = st.lists(PARTS, min_size=1, max_size=5).map(lambda parts: assistant(*parts))
TURNS = st.lists(st.tuples(TEXT.map(user), ANSWERS), min_size=1, max_size=3)
CONVERSATIONS = st.builds(
    lambda turns, whole: Conversation(tuple(message for turn in turns for message in turn)[: None if whole else -1]),
    TURNS,
    st.booleans(),
)


@pytest.fixture(scope="session")
def conversations() -> st.SearchStrategy[Conversation]:
    """Conversations that end with either role, hold every kind of part, and spell special tokens in their text."""
    return CONVERSATIONS


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Bytes, and a few merges of a, b and c; the special tokens of the family above them."""
    merged = (b"ab", b"abab", b" c", b" ca")
    ranks = {bytes([byte]): byte for byte in range(256)} | {token: 256 + rank for rank, token in enumerate(merged)}
    return Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks)


@pytest.fixture
def corpus_of(tmp_path: Path) -> Callable[..., Path]:
    """`corpus_of([documents of shard 0], [of shard 1], validation_shard=1)` writes a corpus artifact."""

    def write(*shards: Sequence[str], validation_shard: int | None = None) -> Path:
        folder = tmp_path / "corpus"
        folder.mkdir()
        listed = []
        for number, documents in enumerate(shards):
            write_documents(folder / shard_file(number), documents)
            characters = sum(map(len, documents))
            listed.append(
                Shard(number=number, file=shard_file(number), documents=len(documents), characters=characters)
            )
        Corpus(source="by-hand", revision="1", validation_shard=validation_shard, shards=tuple(listed)).save(folder)
        return folder

    return write
