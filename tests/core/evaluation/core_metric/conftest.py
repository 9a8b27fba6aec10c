"""A toy model, a byte tokenizer, and the stage on them; and the same for a model that is told its direction."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_models import toy_transformer

from core.data.tokenizer import Tokenizer
from core.model.transformer import Transformer
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

sys.path.insert(0, str(Path(__file__).parent))  # tests import `core_bench` by name

from core_bench import ARCHITECTURE, Bench


def byte_tokenizer(special_tokens: tuple[str, ...]) -> Tokenizer:
    """One token a byte."""
    return Tokenizer(SPLIT_PATTERN, special_tokens, {bytes([byte]): byte for byte in range(256)})


@pytest.fixture(scope="session")
def toy() -> Transformer:
    """Random weights, none of them zero."""
    return toy_transformer(ARCHITECTURE, use_rope=True).eval()


@pytest.fixture
def bench(tmp_path: Path, toy: Transformer) -> Bench:
    """Where one test works."""
    return Bench(tmp_path, byte_tokenizer(SPECIAL_TOKENS), toy)


@pytest.fixture
def directed_bench(tmp_path: Path) -> Bench:
    """The same with a model that is told in which direction a text is read."""
    tokenizer = byte_tokenizer((*SPECIAL_TOKENS, *DIRECTION_TOKENS))
    architecture = replace(ARCHITECTURE, vocabulary_size=tokenizer.vocabulary_size)
    return Bench(tmp_path, tokenizer, toy_transformer(architecture, use_rope=True).eval())
