"""A toy model, a byte tokenizer, and the stage on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_models import toy_transformer

from core.data.tokenizer import Tokenizer
from core.model.transformer import Transformer
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

sys.path.insert(0, str(Path(__file__).parent))  # tests import `long_context_bench` by name

from long_context_bench import ARCHITECTURE, Bench


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One token a byte, and the special tokens of both directions."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    return Tokenizer(SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), ranks)


@pytest.fixture(scope="session")
def build() -> Callable[..., Transformer]:
    """`build(use_rope)`: random weights, none of them zero."""

    def make(use_rope: bool) -> Transformer:
        return toy_transformer(ARCHITECTURE, use_rope=use_rope).eval()

    return make


@pytest.fixture
def bench(tmp_path: Path, tokenizer: Tokenizer, build: Callable[..., Transformer]) -> Bench:
    """Where one test works."""
    return Bench(tmp_path, tokenizer, build)


@pytest.fixture(scope="module")
def shared_bench(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, build: Callable[..., Transformer]
) -> Callable[[], Bench]:
    """Where the stages work that several tests look at."""
    return lambda: Bench(tmp_path_factory.mktemp("long"), tokenizer, build)
