"""The thread that owns an engine: who is served when, who is told what, and how it stops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

import pytest
from gated_engine import GatedModel
from reciting import alphabet
from running import wait_until

from core.chat.text_model import AnswerOptions, TextModel
from core.inference.engine import ContextError, Request
from core.serving.engine_thread import Ended, EngineStopped, EngineThread, Event, TooBusy

SLOTS = 3


class Client:
    """What one request was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def ends(self) -> list[Ended]:
        return [event for event in self.events if isinstance(event, Ended)]

    @property
    def text(self) -> str:
        return bytes(event for event in self.events if isinstance(event, int)).decode()


@pytest.fixture
def model(models: Mapping[str, TextModel]) -> Iterator[GatedModel]:
    """Its engine steps when the test permits; in the end always."""
    gated = GatedModel("letters", models["letters"].subject)
    yield gated
    gated.gate.open()


@pytest.fixture
def thread(model: GatedModel) -> Iterator[EngineThread]:
    """Three slots and a line of 40."""
    thread = EngineThread("letters", model.engine(SLOTS), waiting_limit=40)
    thread.start()
    yield thread
    model.gate.open()
    thread.stop()


def request(model: TextModel, tokens: int) -> Request:
    options = AnswerOptions(temperature=0, top_k=None, top_p=None, seed=0, tokens=tokens)
    return model.completion_request("z", "forward", options)


def test_a_request_that_can_never_be_answered_is_refused_at_the_door_and_harms_nobody(
    model: GatedModel, thread: EngineThread
) -> None:
    client = Client()
    thread.submit(request(model, 2), client.events.append)
    endless = replace(request(model, 2), prompt=[1] * 10**6)
    with pytest.raises(ContextError, match="exceed the context"):
        thread.submit(endless, client.events.append)
    model.gate.open()
    wait_until(lambda: client.ends)
    assert client.ends == [Ended("length")]
    assert thread.is_alive


def test_who_comes_first_is_served_first(model: GatedModel) -> None:
    thread = EngineThread("letters", model.engine(1), waiting_limit=9)
    thread.start()
    order: list[int] = []
    for number in range(10):
        asked = request(model, 2)
        thread.submit(asked, lambda event, number=number: order.append(number) if isinstance(event, Ended) else None)
    model.gate.open()
    wait_until(lambda: len(order) == 10)
    assert order == list(range(10))
    thread.stop()


def test_everybody_is_told_one_end_whoever_gives_up(model: GatedModel, thread: EngineThread) -> None:
    random = Random(7)
    clients = [Client() for _ in range(40)]
    tickets = [
        thread.submit(request(model, 1 + number % 9), client.events.append) for number, client in enumerate(clients)
    ]
    given_up = random.sample(range(40), 15)
    for number in given_up:
        thread.cancel(tickets[number])
        model.gate.permit(random.randint(1, 3))
    model.gate.open()
    wait_until(lambda: all(client.ends for client in clients))
    for number, client in enumerate(clients):
        assert len(client.ends) == 1
        assert client.text == alphabet(len(client.text))
        if number not in given_up:
            assert client.ends == [Ended("length")]
            assert len(client.text) == 1 + number % 9
    assert (thread.active, thread.waiting) == (0, 0)
    last = Client()
    thread.submit(request(model, SLOTS), last.events.append)
    wait_until(lambda: last.ends)


def test_a_full_line_refuses_and_a_place_that_is_given_back_can_be_had(model: GatedModel) -> None:
    thread = EngineThread("letters", model.engine(1), waiting_limit=1)
    thread.start()
    clients = [Client(), Client(), Client()]
    thread.submit(request(model, 1), clients[0].events.append)
    second = thread.submit(request(model, 1), clients[1].events.append)
    with pytest.raises(TooBusy, match="letters has 1 answers under way and 1 waiting"):
        thread.submit(request(model, 1), clients[2].events.append)
    thread.cancel(second)
    model.gate.open()
    wait_until(lambda: clients[1].ends)
    thread.submit(request(model, 1), clients[2].events.append)
    wait_until(lambda: clients[2].ends)
    thread.stop()


def test_a_stop_ends_everybody_and_takes_nobody(model: GatedModel, thread: EngineThread) -> None:
    clients = [Client() for _ in range(SLOTS + 2)]
    for client in clients:
        thread.submit(request(model, 100), client.events.append)
    model.gate.permit(2)
    wait_until(lambda: clients[0].events)
    model.gate.open()
    thread.stop()
    assert all(len(client.ends) == 1 for client in clients)
    with pytest.raises(EngineStopped):
        thread.submit(request(model, 1), clients[0].events.append)


def test_a_broken_engine_tells_everybody(model: GatedModel, thread: EngineThread) -> None:
    clients = [Client() for _ in range(SLOTS + 2)]
    for client in clients:
        thread.submit(request(model, 100), client.events.append)
    model.gate.broken.set()
    model.gate.permit(1)
    wait_until(lambda: all(client.ends for client in clients))
    assert [client.events for client in clients] == [[Ended("failed")]] * len(clients)
    assert not thread.is_alive
