"""Continuous batching: requests that join and leave at any time get what they would have got alone."""

from __future__ import annotations

import gc
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.engine import ContextError, End, Engine, NoFreeSlot, Request, Token
from core.inference.sampling import Sampling, choose
from core.model.transformer import Transformer

CONTEXT, SLOTS, VOCABULARY = 24, 3, 40
TENSORS = (torch.Tensor, torch.nn.Parameter)


def request(
    prompt: list[int], max_tokens: int = 6, stop: frozenset[int] = frozenset(), **sampling: float | int | None
) -> Request:
    settings = Sampling(max_tokens=max_tokens, **{"temperature": 0.0, **sampling})
    return Request(prompt=tuple(prompt), sampling=settings, stop_tokens=stop)


def alone(model: Transformer, wanted: Request) -> tuple[list[int], str]:
    """The definition: read everything again for each token, and choose by the request's own random numbers."""
    tokens, random = list(wanted.prompt), Random(wanted.sampling.seed)
    with torch.inference_mode():
        for _ in range(wanted.sampling.max_tokens):
            logits = model(torch.tensor([tokens]))[:, -1]
            draw = 0.0 if wanted.sampling.is_greedy else random.random()
            [token] = choose(logits, [wanted.sampling], [draw])
            if token in wanted.stop_tokens:
                return tokens[len(wanted.prompt) :], "stop"
            tokens.append(token)
    return tokens[len(wanted.prompt) :], "length"


def run(engine: Engine) -> dict[int, tuple[list[int], str]]:
    """Step until nothing is left to do."""
    written: dict[int, list[int]] = {}
    ended: dict[int, tuple[list[int], str]] = {}
    while not engine.is_idle:
        for event in engine.step():
            match event:
                case Token(number, token):
                    written.setdefault(number, []).append(token)
                case End(number, reason):
                    ended[number] = (written.get(number, []), reason)
    return ended


REQUESTS = st.builds(
    request,
    prompt=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=10),
    max_tokens=st.integers(1, 10),
    stop=st.frozensets(st.integers(0, VOCABULARY - 1), max_size=4),
    temperature=st.sampled_from([0.0, 0.8, 1.5]),
    top_k=st.none() | st.integers(1, 10),
    top_p=st.none() | st.sampled_from([0.5, 0.9]),
    seed=st.integers(0, 99),
)


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=8),
    steps_between=st.lists(st.integers(0, 4), min_size=8, max_size=8),
    cancelled=st.frozensets(st.integers(0, 7), max_size=3),
)
def test_what_a_request_gets_does_not_depend_on_who_comes_and_goes_beside_it(
    model: Transformer, requests: list[Request], steps_between: list[int], cancelled: frozenset[int]
) -> None:
    engine = Engine(model, context_tokens=CONTEXT, slots=SLOTS)
    written: dict[int, list[int]] = {}
    reasons: dict[int, str] = {}

    def step() -> None:
        for event in engine.step():
            match event:
                case Token(number, token):
                    assert number not in reasons
                    written.setdefault(number, []).append(token)
                case End(number, reason):
                    reasons[number] = reason

    for number, (wanted, steps) in enumerate(zip(requests, steps_between, strict=False)):
        while not engine.free_slots:
            step()
        assert engine.add(wanted) == number
        for _ in range(steps):
            step()
        if number in cancelled:
            engine.cancel(number)
    while not engine.is_idle:
        step()
    assert engine.free_slots == SLOTS
    assert set(reasons) == set(range(len(requests)))
    for number, wanted in enumerate(requests):
        tokens, reason = alone(model, wanted)
        found = written.get(number, [])
        if reasons[number] == "cancelled":
            assert number in cancelled
            assert found == tokens[: len(found)]
        else:
            assert (found, reasons[number]) == (tokens, reason)


def test_every_step_writes_one_token_of_every_request_under_way(model: Transformer) -> None:
    engine = Engine(model, context_tokens=CONTEXT, slots=SLOTS)
    first = engine.add(request([1, 2, 3]))
    assert [event.request for event in engine.step()] == [first]
    second = engine.add(request([4]))
    assert sorted(event.request for event in engine.step()) == [first, second]


def test_more_requests_than_slots_are_refused_until_one_ends_or_is_cancelled(model: Transformer) -> None:
    engine = Engine(model, context_tokens=CONTEXT, slots=2)
    first, second = engine.add(request([1])), engine.add(request([2]))
    with pytest.raises(NoFreeSlot, match="all 2 slots are taken"):
        engine.add(request([3]))
    engine.step()
    engine.cancel(first)
    assert engine.free_slots == 1
    third = engine.add(request([3]))
    ended = run(engine)
    assert {number: reason for number, (_, reason) in ended.items()} == {
        first: "cancelled",
        second: "length",
        third: "length",
    }


def test_a_request_can_be_cancelled_before_its_first_token_and_after_its_last(model: Transformer) -> None:
    engine = Engine(model, context_tokens=CONTEXT, slots=1)
    number = engine.add(request([1]))
    engine.cancel(number)
    engine.cancel(number)
    engine.cancel(99)
    assert engine.free_slots == 1
    assert not engine.is_idle
    assert engine.step() == [End(number, "cancelled")]
    assert engine.is_idle
    assert engine.step() == []


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "error", "message"),
    [
        ([1] * 20, 5, ContextError, "a prompt of 20 tokens and 5 new ones exceed the context of 24"),
        ([], 5, ValueError, "the prompt is empty"),
        ([1, 40], 5, ValueError, "outside the vocabulary of 40"),
        ([-1], 5, ValueError, "outside the vocabulary of 40"),
    ],
    ids=["too long", "empty", "unknown id", "negative id"],
)
def test_what_cannot_be_answered_is_refused_and_takes_no_slot(
    model: Transformer, prompt: list[int], max_tokens: int, error: type[Exception], message: str
) -> None:
    engine = Engine(model, context_tokens=CONTEXT, slots=1)
    with pytest.raises(error, match=message):
        engine.add(request(prompt, max_tokens))
    assert engine.free_slots == 1
    number = engine.add(request([1] * 20, 4))
    assert len(run(engine)[number][0]) == 4


def test_memory_is_flat_however_many_requests_pass(model: Transformer) -> None:
    def tensors() -> int:
        gc.collect()
        return sum(thing.numel() for thing in gc.get_objects() if type(thing) in TENSORS)

    engine = Engine(model, context_tokens=CONTEXT, slots=SLOTS)

    def serve(count: int) -> None:
        for number in range(count):
            while not engine.free_slots:
                engine.step()
            engine.add(request([number % VOCABULARY] * (1 + number % 9), 3))
            if number % 4 == 0:
                engine.cancel(number)
        run(engine)

    serve(10)
    before = tensors()
    serve(60)
    assert tensors() == before


def test_long_prompts_are_read_in_several_passes(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.inference.engine.PREFILL_TOKENS", 12)
    engine = Engine(model, context_tokens=CONTEXT, slots=5)
    wanted = [request(list(range(length))) for length in (15, 4, 6, 4, 3)]
    numbers = [engine.add(each) for each in wanted]
    ended = run(engine)
    assert [ended[number] for number in numbers] == [alone(model, each) for each in wanted]
