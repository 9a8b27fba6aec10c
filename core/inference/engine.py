"""Continuous batching: requests join and leave while others are being answered, one token each in every step.

- The key-value cache is allocated once, slots x context: memory is flat however many requests pass, and a request that
  was accepted cannot run out of it half way. Growing in blocks would hold more requests where most are short, at the
  price of both.
- Requests under way occupy the first rows of the cache: the last row moves into the place of one that ends, so a step
  works on a slice of the cache and on no empty rows.
- A request's random numbers are its own, drawn on the CPU, and other rows do not enter its logits but by the order of
  float additions: what it gets does not depend on who shares the batch.
- What does not fit the context is refused at the door, never cut.

One thread owns an engine; it is not thread-safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import torch
from torch import Tensor

from core.inference.sampling import Sampling, choose
from core.inference.tools import ToolListener, Tools
from core.model.key_value_cache import KeyValueCache
from core.model.transformer import Transformer

PREFILL_TOKENS = 8192  # of prompts read in one pass, padding included: bounds the activations


class ContextError(ValueError):
    """Prompt and answer together exceed the context that the model was trained for."""


class NoFreeSlot(Exception):
    """As many requests are under way as the engine has slots; add again after one has ended."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to continue, and how; with `tools`, calls are evaluated and their output counts as written."""

    prompt: tuple[int, ...]
    sampling: Sampling
    stop_tokens: frozenset[int]
    tools: Tools | None = None


@dataclass(frozen=True)
class Token:
    """One token of an answer; `tool`: forced in by the engine as the output of a call."""

    request: int
    token: int
    origin: Literal["model", "tool"]


@dataclass(frozen=True)
class End:
    """Nothing more comes: the model wrote a stop token (which is not reported), all its tokens, or was cancelled."""

    request: int
    reason: Literal["stop", "length", "cancelled"]


@dataclass
class _Answer:
    """A request under way."""

    number: int
    request: Request
    random: Random
    listener: ToolListener | None
    last: int = 0  # its newest token, not yet read by the model
    written: int = 0
    forced: deque[int] = field(default_factory=deque)

    def draw(self) -> float:
        return 0.0 if self.request.sampling.is_greedy else self.random.random()


class Engine:
    """Answers up to `slots` requests at once, each with `context_tokens` for prompt and answer."""

    def __init__(self, model: Transformer, *, context_tokens: int, slots: int) -> None:
        self.context_tokens, self.slots = context_tokens, slots
        self._model = model
        table = model.transformer.wte.weight
        self._cache = KeyValueCache(
            model.architecture,
            rows=slots,
            capacity=context_tokens,
            device=table.device,
            dtype=table.dtype,
            scaling=model.scaling,
        )
        self._waiting: list[_Answer] = []
        self._running: list[_Answer] = []  # the one at index i has row i of the cache
        self._cancelled: list[int] = []
        self._next_number = 0

    @property
    def free_slots(self) -> int:
        """How many requests can be added now."""
        return self.slots - len(self._waiting) - len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether `step` has nothing to do or to report."""
        return not (self._waiting or self._running or self._cancelled)

    def add(self, request: Request) -> int:
        """Accept a request and return its number; its first token comes with the next step.

        Raises `ContextError` when prompt and max_tokens do not fit the context, `NoFreeSlot` when all are taken,
        ValueError for a prompt that is empty or holds an id outside the vocabulary.
        """
        self.check(request)
        if not self.free_slots:
            raise NoFreeSlot(f"all {self.slots} slots are taken; wait until a request ends")
        number = self._next_number
        self._next_number += 1
        listener = request.tools.listen() if request.tools is not None else None
        self._waiting.append(_Answer(number, request, Random(request.sampling.seed), listener))
        return number

    def check(self, request: Request) -> None:
        """Raise what `add` raises for a request that this engine can never answer."""
        length, wanted = len(request.prompt), request.sampling.max_tokens
        if not length:
            raise ValueError("the prompt is empty; it needs at least the token that begins every document")
        if length + wanted > self.context_tokens:
            raise ContextError(
                f"a prompt of {length:,} tokens and {wanted:,} new ones exceed the context of "
                f"{self.context_tokens:,}; shorten the prompt or ask for less"
            )
        vocabulary = self._model.architecture.vocabulary_size
        if not 0 <= min(request.prompt) <= max(request.prompt) < vocabulary:
            raise ValueError(f"the prompt holds an id outside the vocabulary of {vocabulary:,}")

    def cancel(self, number: int) -> None:
        """Free the slot of a request at once; the next step reports its end. Ended and unknown numbers are fine."""
        for group in (self._waiting, self._running):
            for index, answer in enumerate(group):
                if answer.number == number:
                    if group is self._running:
                        self._vacate(index)
                    else:
                        del group[index]
                    self._cancelled.append(number)
                    return

    @torch.inference_mode()
    def step(self) -> list[Token | End]:
        """Read the prompts that are new, then write one token of every answer; return what happened, in order."""
        events: list[Token | End] = [End(number, "cancelled") for number in self._cancelled]
        self._cancelled.clear()
        logits = [*self._read_last_tokens(), *self._read_prompts()]
        if not logits:
            return events
        samplings = [answer.request.sampling for answer in self._running]
        rows = logits[0] if len(logits) == 1 else torch.cat(logits)
        chosen = choose(rows, samplings, [answer.draw() for answer in self._running])
        ended = []
        for row, (answer, token) in enumerate(zip(self._running, chosen, strict=True)):
            happened = list(_write(answer, token))
            events += happened
            if isinstance(happened[-1], End):
                ended.append(row)
        for row in reversed(ended):
            self._vacate(row)
        return events

    def _read_last_tokens(self) -> Iterator[Tensor]:
        """Logits [running, V] after the newest token of every running answer, if any is running."""
        if self._running:
            tokens = torch.tensor([[answer.last] for answer in self._running], device=self._model.device)
            hidden = self._model.hidden(tokens, self._cache.window(0, [1] * len(self._running)))
            yield self._model.logits(hidden[:, -1])

    def _read_prompts(self) -> Iterator[Tensor]:
        """Logits [n, V] after the prompts of one group after another; each waiting request becomes a running one."""
        self._waiting.sort(key=lambda answer: len(answer.request.prompt))  # alike in length: little padding
        while self._waiting:
            group = self._waiting[: _group_size([len(answer.request.prompt) for answer in self._waiting])]
            yield self._prefill([answer.request.prompt for answer in group])
            self._running += group
            del self._waiting[: len(group)]

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts into the rows behind those in use; logits [n, V] after each."""
        counts = [len(prompt) for prompt in prompts]
        padded = [[*prompt, *[0] * (max(counts) - len(prompt))] for prompt in prompts]
        tokens = torch.tensor(padded, device=self._model.device)
        hidden = self._model.hidden(tokens, self._cache.window(len(self._running), counts))  # [n, T, width]
        last = torch.tensor(counts, device=hidden.device) - 1
        return self._model.logits(hidden[torch.arange(len(counts), device=hidden.device), last])

    def _vacate(self, row: int) -> None:
        """Free a row of the cache; the last row in use takes its place."""
        last = len(self._running) - 1
        if row == last:
            self._cache.clear(row)
        else:
            self._cache.move(last, row)
            self._running[row] = self._running[last]
        self._running.pop()


def _group_size(lengths: Sequence[int]) -> int:
    """How many of the first prompts, given in ascending length, are read in one pass: at least one."""
    fitting = sum(count * length <= PREFILL_TOKENS for count, length in enumerate(lengths, start=1))
    return max(1, fitting)


def _write(answer: _Answer, chosen: int) -> Iterator[Token | End]:
    """Add one token to an answer, forced or chosen; say so, and whether it ended."""
    if answer.forced:
        token = answer.forced.popleft()
        yield Token(answer.number, token, "tool")
    elif chosen in answer.request.stop_tokens:
        yield End(answer.number, "stop")
        return
    else:
        token = chosen
        yield Token(answer.number, token, "model")
        if answer.listener is not None:
            answer.forced.extend(answer.listener.hear(token))
    answer.last = token
    answer.written += 1
    if answer.written == answer.request.sampling.max_tokens:
        yield End(answer.number, "length")
