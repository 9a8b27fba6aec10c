"""An engine that goes as far as the test lets it: answers out of time, a server that stops, an engine that breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import openai
import pytest
from gated_engine import GatedModel
from reciting import alphabet
from serving import Running, serving

from core.chat.text_model import TextModel
from core.serving.limits import Limits

ASK = {"model": "letters", "messages": [{"role": "user", "content": "x"}], "temperature": 0}


@pytest.fixture
def gated(models: Mapping[str, TextModel]) -> Iterator[GatedModel]:
    """A model whose engine waits for permits; opened at the end, so that nothing hangs."""
    model = GatedModel("letters", models["letters"].subject)
    yield model
    model.gate.open()


def open_at_the_end(model: GatedModel, server: Running) -> None:
    model.gate.open()
    server.wait_until_idle()


def test_an_answer_out_of_time_is_cut_off_with_a_proper_end(gated: GatedModel) -> None:
    with serving([gated], Limits(answer_seconds=2.0)) as server:
        gated.gate.permit(5)
        answer = server.openai.chat.completions.create(**ASK)
        assert answer.choices[0].message.content == alphabet(5)
        assert answer.choices[0].finish_reason == "length"
        assert server.metric("miniseries_answers_total", reason="timeout") == 1
        open_at_the_end(gated, server)


def test_who_gets_no_slot_in_time_is_told_so(gated: GatedModel) -> None:
    with serving([gated], Limits(answer_seconds=0.2)) as server:
        with pytest.raises(openai.InternalServerError, match="no slot became free in time") as caught:
            server.openai.chat.completions.create(**ASK)
        assert caught.value.status_code == 503
        open_at_the_end(gated, server)


def test_a_stopping_server_ends_streams_properly(gated: GatedModel) -> None:
    with serving([gated], Limits(grace_seconds=0.1)) as server:
        gated.gate.permit(3)
        stream = server.openai.chat.completions.create(**ASK, stream=True)
        chunks = [next(stream), next(stream)]
        server.stop()  # returns at once; the grace passes while the answer stands still
        threading.Timer(0.5, gated.gate.open).start()
        chunks += list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == alphabet(len(text))
    assert chunks[-1].choices[0].finish_reason == "length"


def test_an_engine_that_breaks_says_so_and_takes_no_more(gated: GatedModel) -> None:
    with serving([gated]) as server:
        gated.gate.permit(3)
        stream = server.openai.chat.completions.create(**ASK, stream=True)
        received = [next(stream)]
        gated.gate.broken.set()
        gated.gate.permit(1)
        with pytest.raises(openai.APIError, match="the engine failed"):
            received += list(stream)
        with pytest.raises(openai.InternalServerError, match="letters is not served any more"):
            server.openai.chat.completions.create(**ASK)
        with server.http as client:
            assert client.get("/health").status_code == 503
        assert server.metric("miniseries_answers_active") == 0
