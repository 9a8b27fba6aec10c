"""Slash commands, and the loops that take lines from a person or a pipe."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from reciting import alphabet
from talking import Begin

from core.chat.commands import COMMANDS, Leave, run_command
from core.chat.conversing import converse, converse_in_pipe
from core.chat.session import ChatError
from core.chat.settings import ChatSettings
from core.posttraining.conversation import Part


def test_help_names_every_command(in_pipe: Begin) -> None:
    said = run_command(in_pipe("letters").session, "/help")
    assert [line.split()[0] for line in said.splitlines()[:-1]] == [f"/{name}" for name in COMMANDS]


def test_settings_are_set_and_told(in_pipe: Begin) -> None:
    session = in_pipe("both_ways").session
    for line in ("/temperature 0.8", "/top_k off", "/top_p 0.9", "/seed 7", "/tokens 12", "/direction backward"):
        said = run_command(session, line)
    assert said == "temperature 0.8, top_k off, top_p 0.9, seed 7, tokens 12, direction backward"
    assert session.settings == ChatSettings(
        temperature=0.8, top_k=None, top_p=0.9, seed=7, tokens=12, direction="backward"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/temperatur 1", "did you mean /temperature"),
        ("/", "/help lists them"),
        ("/temperature hot", "'hot' is no number from 0 to 100"),
        ("/temperature nan", "'nan' is no number"),
        ("/temperature -1", "'-1' is no number"),
        ("/top_p 0", "above 0"),
        ("/top_k 0", "at least 1"),
        ("/seed x", "/seed: a whole number"),
        ("/direction backward", "letters reads forward, not 'backward'"),
        ("/save", "name a file"),
        ("/save x.json", "no conversation to save"),
        ("/load /nowhere/talk.json", "No such file or directory: /nowhere/talk.json"),
    ],
)
def test_what_cannot_be_done_is_one_line(in_pipe: Begin, line: str, said: str) -> None:
    session = in_pipe("letters").session
    before = session.settings
    with pytest.raises(ChatError, match=said) as caught:
        run_command(session, line)
    assert "\n" not in str(caught.value)
    assert session.settings == before


def test_a_base_model_has_no_conversation_to_save(in_pipe: Begin, tmp_path: Path) -> None:
    with pytest.raises(ChatError, match="both_ways completes text"):
        run_command(in_pipe("both_ways").session, f"/save {tmp_path / 'talk.json'}")


def test_save_and_load_say_how_much(in_pipe: Begin, tmp_path: Path) -> None:
    session = in_pipe("coffee").session
    session.say("x")
    assert run_command(session, f"/save {tmp_path / 'my talk.json'}") == "2 messages saved"
    assert run_command(session, "/clear") == "a new conversation"
    assert run_command(session, f"/load {tmp_path / 'my talk.json'}") == "2 messages loaded"
    with pytest.raises(Leave):
        run_command(session, "/quit")


def test_every_line_of_a_pipe_is_a_message_or_a_command(in_pipe: Begin) -> None:
    talk = in_pipe("letters")
    converse_in_pipe(talk.session, ["/tokens 3\n", "one\n", "\n", "two\r\n", "/quit\n", "three\n"])
    assert talk.written == "abc\nabc\n"
    assert [message.text for message in talk.session.messages] == ["one", "abc", "two", "abc"]


def test_a_pipe_ends_at_the_first_line_that_cannot_be_obeyed(in_pipe: Begin) -> None:
    with pytest.raises(ChatError, match="there is no command /tokes"):
        converse_in_pipe(in_pipe("letters").session, ["/tokes 3", "one"])


class Person:
    """Types lines; an exception in the list is what happens at the prompt instead."""

    def __init__(self, *lines: str | BaseException) -> None:
        self._lines: Iterator[str | BaseException] = iter(lines)

    def __call__(self) -> str:
        line = next(self._lines, None)
        assert line is not None, "the chat should have ended before"
        if isinstance(line, BaseException):
            raise line
        return line


def test_a_person_is_told_what_cannot_be_done_and_goes_on(on_terminal: Begin) -> None:
    talk = on_terminal("brief")
    converse(talk.session, Person("/nonsense", "x" * 100, "hello", EOFError()))
    assert "there is no command /nonsense" in talk.written
    assert "the conversation has 104 tokens" in talk.written
    assert "café☕" in talk.written


def test_ctrl_c_at_the_prompt_leaves_when_pressed_twice(on_terminal: Begin) -> None:
    talk = on_terminal("coffee")
    once, twice = KeyboardInterrupt(), KeyboardInterrupt()
    converse(talk.session, Person(once, "hello", KeyboardInterrupt(), twice))
    assert len(talk.session.messages) == 2
    assert talk.written.count("Ctrl-C again or /quit leaves") == 2


def test_a_second_ctrl_c_that_comes_while_the_first_is_told_leaves_too(on_terminal: Begin) -> None:
    talk = on_terminal("coffee")

    def interrupted(_text: str) -> None:
        raise KeyboardInterrupt

    talk.session.display.say = interrupted
    converse(talk.session, Person(KeyboardInterrupt(), "hello", EOFError()))
    assert not talk.session.messages


def test_ctrl_c_stops_an_answer_and_a_second_one_leaves(on_terminal: Begin) -> None:
    talk = on_terminal("letters")
    show = talk.session.display.piece
    handler = signal.getsignal(signal.SIGINT)

    def interrupt_at_g(piece: Part) -> None:
        show(piece)
        if piece.text == "g":
            os.kill(os.getpid(), signal.SIGINT)

    talk.session.display.piece = interrupt_at_g
    converse(talk.session, Person("x", KeyboardInterrupt()))
    text = talk.session.messages[1].text
    assert text == alphabet(len(text))
    assert len(text) < 20  # a signal is handled between two tokens
    assert signal.getsignal(signal.SIGINT) is handler
