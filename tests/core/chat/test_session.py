"""A chat: its history, where it is cut off, what is refused, and what a terminal and a pipe show of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reciting import alphabet
from talking import Begin

from core.chat.session import ChatError
from core.chat.settings import ChatSettings
from core.chat.terminal import visible
from core.inference.engine import ContextError
from core.posttraining.conversation import Part, parse_conversation


def test_a_pipe_gets_the_prose_and_nothing_else(in_pipe: Begin) -> None:
    talk = in_pipe("sums")
    talk.session.say("What is it?")
    talk.session.say("And again?")
    assert talk.written == "Sum: !\nSum: !\n"


def test_a_terminal_shows_what_was_calculated_dimmed(on_terminal: Begin) -> None:
    talk = on_terminal("sums")
    talk.session.say("What is it?")
    dim, plain = "\x1b[2m", "\x1b[0m"
    assert talk.written.replace(f"{plain}{dim}", "") == f"Sum: {dim}[6*7 = 42]{plain}!\n"


def test_the_history_holds_questions_answers_and_calls(in_pipe: Begin) -> None:
    session = in_pipe("sums").session
    session.say("What is it?")
    assert [message.role for message in session.messages] == ["user", "assistant"]
    parts = (Part("text", "Sum: "), Part("python", "6*7"), Part("python_output", "42"), Part("text", "!"))
    assert session.messages[1].parts == parts
    session.clear()
    assert session.messages == ()


def test_an_answer_is_cut_off_where_asked(on_terminal: Begin) -> None:
    talk = on_terminal("letters", tokens=30)
    talk.session.say("x")
    assert talk.written.startswith(alphabet(30) + "\n")
    assert "cut off after 30 tokens" in talk.written


def test_an_answer_that_fills_the_context_says_so(on_terminal: Begin) -> None:
    talk = on_terminal("short", tokens=1000)
    talk.session.say("x")
    assert talk.session.messages[1].text == alphabet(64 - 5)
    assert "the context is full; /clear begins a new conversation" in talk.written


def test_a_conversation_that_is_too_long_is_refused_and_stays(in_pipe: Begin) -> None:
    talk = in_pipe("brief")
    for _ in range(4):
        talk.session.say("0123")
    before, written = talk.session.messages, talk.written
    with pytest.raises(ContextError, match="shorten it or begin a new one"):
        talk.session.say("0123")
    assert talk.session.messages == before
    assert talk.written == written
    talk.session.clear()
    talk.session.say("0123")


def test_a_stopped_answer_stays_in_the_history(in_pipe: Begin) -> None:
    talk = in_pipe("letters")
    show = talk.session.display.piece

    def stop_at_g(piece: Part) -> None:
        show(piece)
        if piece.text == "g":
            talk.session.stop()

    talk.session.display.piece = stop_at_g
    talk.session.say("x")
    assert talk.session.messages[1].text == alphabet(7)
    talk.session.display.piece = show
    talk.session.stop()  # what came between two answers stops neither
    talk.session.settings = ChatSettings(temperature=0, tokens=3)
    talk.session.say("y")
    assert talk.session.messages[3].text == "abc"


def test_a_base_model_writes_on_and_before_without_a_history(in_pipe: Begin) -> None:
    talk = in_pipe("both_ways", tokens=5)
    talk.session.say("abc")
    talk.session.settings = ChatSettings(temperature=0, tokens=5, direction="backward")
    talk.session.say("xyz")
    assert talk.written == "defgh\ncbazy\n"
    assert talk.session.messages == ()


def test_a_terminal_shows_a_completed_text_whole(on_terminal: Begin) -> None:
    talk = on_terminal("both_ways", tokens=5, direction="backward")
    talk.session.say("xyz")
    assert talk.written.rstrip().splitlines()[-2].endswith("cbazy\x1b[2mxyz\x1b[0m")


def test_half_a_surrogate_pair_is_refused(in_pipe: Begin) -> None:
    for model in ("letters", "both_ways"):
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            in_pipe(model).session.say("\ud800")


def test_a_saved_conversation_can_be_gone_on_with(in_pipe: Begin, tmp_path: Path) -> None:
    session = in_pipe("sums").session
    session.say("What is it?")
    session.save(tmp_path / "talk.json")
    assert parse_conversation(json.loads((tmp_path / "talk.json").read_text())).messages == session.messages
    other = in_pipe("sums").session
    other.load(tmp_path / "talk.json")
    assert other.messages == session.messages


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "holds no conversation"),
        (b"\xff", "holds no conversation"),
        (b"[" * 100_000, "holds no conversation"),
        (b'{"messages": [{"role": "assistant", "content": "hi"}]}', "message 0 has role 'assistant'"),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "ends with a question"),
    ],
    ids=["no-json", "no-text", "deep", "roles", "question"],
)
def test_what_is_no_conversation_is_not_loaded(in_pipe: Begin, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "talk.json").write_bytes(content)
    session = in_pipe("sums").session
    with pytest.raises(ChatError, match=said):
        session.load(tmp_path / "talk.json")
    assert session.messages == ()


@given(st.text())
def test_no_text_reaches_a_terminal_as_a_command_to_it(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert not {character for character in shown if ord(character) < 32 or 127 <= ord(character) < 160} - {"\n", "\t"}
