"""Long texts in pieces: the numbers of reading at once, in memory that does not grow with the length."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from long_context_bench import TRAINED
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.evaluation.long_context.methods import Method, Methods
from core.evaluation.long_context.reading import long_nats, new_cache, read_on
from core.model.loss import next_token_nats
from core.model.position_scaling import LogitScale
from core.model.transformer import Transformer
from core.recipes.miniseries import family_architecture

Build = Callable[..., Transformer]


def all_methods(factor: int) -> list[tuple[bool, Method]]:
    scale = LogitScale(coefficient=0.4, trained_length=TRAINED)
    return [
        (use_rope, method)
        for use_rope in (True, False)
        for method in Methods(use_rope=use_rope, trained_length=TRAINED, logit_scale=scale).at(factor)
    ]


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_pieces_give_the_nats_of_one_pass_at_every_length_and_by_every_method(build: Build, factor: int) -> None:
    texts = np.random.default_rng(factor).integers(0, 256, (2, factor * TRAINED + 1))
    tokens = torch.from_numpy(texts)
    for use_rope, method in all_methods(factor):
        model = build(use_rope)
        with method.applied(model):
            whole = next_token_nats(model, tokens[:, :-1], tokens[:, 1:]).numpy()
            for piece in (factor * TRAINED, 50):
                np.testing.assert_allclose(long_nats(model, texts, piece), whole, rtol=1e-3, atol=1e-4)
        assert model.scaling is None


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made in the block held at once, and the most elements of one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self.largest = 0, 0
        self._alive: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        made = function(*arguments, **(named or {}))
        tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self._alive = [one for one in (*self._alive, *map(weakref.ref, tensors)) if one() is not None]
        alive = [one for one in (reference() for reference in self._alive) if one is not None]
        storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in alive}
        self.peak = max(self.peak, sum(storages.values()))
        self.largest = max([self.largest, *(one.numel() for one in tensors)])
        return made


def test_neither_all_logits_nor_an_attention_matrix_is_ever_made(build: Build) -> None:
    model = build(True)
    texts = np.random.default_rng(1).integers(0, 256, (1, 1025))
    with LiveBytes() as live:
        long_nats(model, texts, piece_tokens=64)
    assert live.largest <= 64 * 1024  # a piece by what it looks at, or a piece by the vocabulary of 276
    assert live.largest < 1024 * model.architecture.vocabulary_size


def test_a_d20_reads_32768_tokens_within_the_memory_that_the_page_adds_up() -> None:
    """On the meta device, which has shapes and no numbers."""
    architecture = family_architecture(20)
    with torch.device("meta"), LiveBytes() as live, torch.inference_mode():
        model = Transformer(architecture).to(torch.bfloat16)
        cache = new_cache(model, 1, 32_768)
        for _ in read_on(model, cache, torch.zeros(1, 32_768, dtype=torch.int64)):
            pass
    assert cache.keys.nbytes + cache.values.nbytes == pytest.approx(3.36e9, rel=0.01)
    assert 3.36e9 < live.peak < 8e9
