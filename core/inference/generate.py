"""Sampling from a model, one token at a time, with a key-value cache: each new token costs one column of attention.

The result is a function of model, prompts and `Sampling`: random numbers come from one generator seeded by it, on
the model's device, and torch's global state is left alone. What would not fit the context is refused before the
first token, never cut.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.model.key_value_cache import KeyValueCache
from core.model.transformer import Transformer


class ContextError(ValueError):
    """Prompt and answer together exceed the context that the model was trained for."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the likeliest; `top_k` limits the choice to the k likeliest."""

    max_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    seed: int = 0


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_tokens: Collection[int],
    context_tokens: int,
) -> list[list[int]]:
    """Continue prompts of one length; for N samples of one prompt, pass it N times.

    Returns the new ids of each, at most `max_tokens`, up to but without its first stop token. Raises `ContextError`
    when prompt and `max_tokens` exceed `context_tokens`, ValueError for prompts of several lengths or none.
    """
    lengths = {len(prompt) for prompt in prompts}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"prompts must be non-empty and of one length, not {sorted(lengths)}: group them by length")
    capacity = lengths.pop() + sampling.max_tokens
    if capacity > context_tokens:
        raise ContextError(
            f"a prompt of {len(prompts[0]):,} tokens and {sampling.max_tokens:,} new ones exceed the context of "
            f"{context_tokens:,}; shorten the prompt or ask for less"
        )
    table = model.transformer.wte.weight
    cache = KeyValueCache(
        model.architecture, batch=len(prompts), capacity=capacity, device=table.device, dtype=table.dtype
    )
    generator = torch.Generator(table.device).manual_seed(sampling.seed)
    tokens = torch.tensor(prompts, dtype=torch.int64, device=table.device)  # [B, T], then [B, 1]
    answers: list[list[int]] = [[] for _ in prompts]
    open_rows = set(range(len(prompts)))
    for _ in range(sampling.max_tokens):
        logits = model.logits(model.hidden(tokens, cache)[:, -1])  # [B, V]
        chosen = choose(logits, sampling, generator)  # [B]
        for row, token in enumerate(chosen.tolist()):
            if token in stop_tokens:
                open_rows.discard(row)
            elif row in open_rows:
                answers[row].append(token)
        if not open_rows:
            break
        tokens = chosen.unsqueeze(1)
    return answers


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One id of each row of logits [B, V]: int64 [B]."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        smallest = logits.topk(min(sampling.top_k, logits.size(-1)), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    return torch.multinomial(logits.softmax(dim=-1), num_samples=1, generator=generator).squeeze(1)
