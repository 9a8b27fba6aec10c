"""Toy models: one whose logits are far from uniform, and models that write what a test tells them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from toy_models import toy_transformer

from core.data.tokenizer import Tokenizer
from core.model.architecture import Architecture
from core.model.transformer import Transformer
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

ARCHITECTURE = Architecture(
    depth=2,
    width=32,
    heads=4,
    key_value_heads=2,
    head_width=8,
    mlp="swiglu",
    mlp_width=48,
    vocabulary_size=40,
    sequence_length=24,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)
EXPRESSIONS = (b"12*3", b"9**9**9", b"__import__('os')", b"<|bos|>")  # each is one token


@pytest.fixture(scope="session", params=[True, False], ids=["rope", "no-rope"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """Random weights, none of them zero."""
    return toy_transformer(ARCHITECTURE, use_rope=request.param).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One token a byte, a few expressions, and the special tokens of both directions."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {expression: 256 + number for number, expression in enumerate(EXPRESSIONS)}
    return Tokenizer(SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), ranks)


@pytest.fixture(scope="session")
def scripted(tokenizer: Tokenizer) -> Callable[[Sequence[int]], Transformer]:
    """`scripted(tokens)` is a model that, after each of these tokens, writes the one that follows it."""

    def build(script: Sequence[int]) -> Transformer:
        vocabulary = tokenizer.vocabulary_size
        width = vocabulary + vocabulary % 2
        architecture = replace(
            ARCHITECTURE,
            width=width,
            heads=1,
            key_value_heads=1,
            head_width=width,
            vocabulary_size=vocabulary,
            sequence_length=64,
        )
        model = Transformer(architecture)
        model.initialize(seed=1)  # no layer adds anything to the residual stream
        with torch.no_grad():
            model.transformer.wte.weight.copy_(torch.eye(vocabulary, width))
            model.lm_head.weight.zero_()
            for token, following in pairwise(script):
                model.lm_head.weight[following, token] = 1.0
        return model.eval()

    return build
