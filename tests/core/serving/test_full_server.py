"""A server with one slot and one place in line: who waits, who is refused, who gives a place back, who is cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import openai
import pytest
from reciting import alphabet
from running import wait_until
from serving import Running, serving

from core.chat.text_model import TextModel
from core.serving.limits import Limits

LONG = {"model": "letters", "messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 4000}
SHORT = {**LONG, "max_tokens": 3}


@pytest.fixture
def tight(models: dict[str, TextModel]) -> Iterator[Running]:
    """One slot, one place in line."""
    with serving([models["letters"]], Limits(slots=1, waiting=1, answer_tokens=4000)) as running:
        yield running


def start(server: Running) -> openai.Stream:
    """A long answer that has begun."""
    stream = server.openai.chat.completions.create(**LONG, stream=True)
    next(iter(stream))
    return stream


def test_who_gives_up_in_line_leaves_it(tight: Running) -> None:
    first = start(tight)
    with pytest.raises(openai.APITimeoutError):
        tight.openai.with_options(timeout=0.2).chat.completions.create(**SHORT)
    wait_until(lambda: tight.metric("miniseries_answers_waiting") == 0)
    assert tight.metric("miniseries_answers_active") == 1
    first.close()
    tight.wait_until_idle()


def test_a_full_line_is_a_429(tight: Running) -> None:
    first = start(tight)
    answers: list[str] = []
    waiting = threading.Thread(
        target=lambda: answers.append(tight.openai.chat.completions.create(**SHORT).choices[0].message.content or "")
    )
    waiting.start()
    wait_until(lambda: tight.metric("miniseries_answers_waiting") == 1)
    with pytest.raises(openai.RateLimitError, match="1 answers under way and 1 waiting") as caught:
        tight.openai.chat.completions.create(**SHORT)
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.code == "server_busy"
    first.close()  # its slot goes to who waits
    waiting.join()
    assert answers == [alphabet(3)]
    tight.wait_until_idle()


def test_the_context_ends_an_answer_that_waits_for_nothing(models: dict[str, TextModel]) -> None:
    with serving([models["short"]], Limits(slots=1)) as server:
        answer = server.openai.completions.create(model="short", prompt="xyz", temperature=0)
        assert answer.choices[0].text == alphabet(64 - 4)
