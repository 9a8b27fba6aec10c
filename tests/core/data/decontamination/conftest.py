"""Questions and packed groups to search, made by the real stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.data import pack
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.questions import Question, write_questions
from core.stages.identity import PackIdentity

PACKED = PackIdentity(
    row_tokens=129,
    algorithm="best-fit-crop",
    buffer_documents=20,
    direction="forward",
    direction_seed=0,
    first_shard=0,
    end_shard=1,
)


@pytest.fixture
def questions_of(tmp_path: Path) -> Callable[..., Path]:
    """`questions_of((task, question, answer), ...)` writes a questions artifact."""

    def write(*asked: tuple[str, str, str]) -> Path:
        folder = tmp_path / f"questions-{len(list(tmp_path.glob('questions-*')))}"
        folder.mkdir()
        write_questions(
            folder,
            [Question(task, Conversation((user(question), assistant(answer))), ()) for task, question, answer in asked],
        )
        return folder

    return write


@pytest.fixture
def packed(make: Callable, corpus_of: Callable, docs_tokenizer: Any) -> Callable[..., Path]:
    """`packed([documents of shard 0], ..., tokenizer=folder, direction=...)` packs shards into one group."""

    def pack_shards(*shards: Sequence[str], tokenizer: Path | None = None, **changes: Any) -> Path:
        identity = dataclasses.replace(PACKED, end_shard=len(shards), **changes)
        folder: Path = make(
            pack, identity, tokenizer=tokenizer or docs_tokenizer.folder, corpus=corpus_of(*shards)
        ).folder
        return folder

    return pack_shards
