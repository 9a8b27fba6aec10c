"""Answers to a list of prompts, each whole: what evaluation and scripts need of the engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from core.inference.engine import End, Engine, Request, Token
from core.inference.sampling import Sampling
from core.inference.tools import Tools
from core.model.transformer import Transformer

SLOTS = 32


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_tokens: Collection[int],
    context_tokens: int,
    tools: Tools | None = None,
) -> list[list[int]]:
    """Continue prompts of any lengths, `SLOTS` at a time; for N samples of one prompt, pass it N times.

    Returns the new ids of each, at most `max_tokens`, up to but without its first stop token, the output of tools
    included. Prompt i draws from seed + i. Raises what `Engine.add` raises, before the first token of any answer.
    """
    requests = [
        Request(
            prompt=tuple(prompt),
            sampling=replace(sampling, seed=sampling.seed + index),
            stop_tokens=frozenset(stop_tokens),
            tools=tools,
        )
        for index, prompt in enumerate(prompts)
    ]
    return answer(model, requests, context_tokens=context_tokens)


def answer(model: Transformer, requests: Sequence[Request], *, context_tokens: int) -> list[list[int]]:
    """The new ids of each request; the longest begin first, so that the batch stays full to the end."""
    needed = max((len(request.prompt) + request.sampling.max_tokens for request in requests), default=1)
    engine = Engine(model, context_tokens=min(needed, context_tokens), slots=min(SLOTS, max(1, len(requests))))
    for request in requests:
        engine.check(request)
    answers: list[list[int]] = [[] for _ in requests]
    to_do = sorted(range(len(requests)), key=lambda index: len(requests[index].prompt))
    under_way: dict[int, int] = {}  # number in the engine -> index of the request
    while to_do or not engine.is_idle:
        while to_do and engine.free_slots:
            index = to_do.pop()
            under_way[engine.add(requests[index])] = index
        for event in engine.step():
            match event:
                case Token(number, token):
                    answers[under_way[number]].append(token)
                case End(number):
                    del under_way[number]
    return answers
