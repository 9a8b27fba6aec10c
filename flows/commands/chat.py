"""`miniseries chat`: talk to a model in the terminal, through a pipe, or once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper

from artifacts.errors import StoreError
from core.chat.artifact import Phase, chosen_model
from core.chat.conversing import REFUSALS, converse, converse_in_pipe
from core.chat.session import ChatError, Session
from core.chat.settings import ChatSettings
from core.chat.terminal import Display, PipeDisplay, TerminalDisplay
from core.chat.text_model import TextModel
from tasks.settings import settings_from_environment

STANDARD_INPUT = "-"  # as the message of -p


def chat(tag: str, phase: Phase | None, prompt: str | None, settings: ChatSettings) -> None:
    """Answer `prompt`, or every line of a pipe, or a person. Raises `StoreError` for what cannot be answered."""
    store = settings_from_environment().open_store()
    stages = chosen_model(tag, phase, store)
    model = TextModel(stages.tag, stages.load(store))
    if settings.direction is not None and settings.direction not in model.speaker.ways:
        raise StoreError(f"{model.name} reads {' and '.join(model.speaker.ways)}, not {settings.direction}")
    session = Session(model, settings, _display())
    if prompt is not None:
        _in_one_line(lambda: session.say(_decoded(sys.stdin.buffer.read()) if prompt == STANDARD_INPUT else prompt))
    elif not sys.stdin.isatty():
        _in_one_line(lambda: converse_in_pipe(session, map(_decoded, sys.stdin.buffer)))
    else:
        import readline  # noqa: F401 -- the import gives input() its line editing

        what = "chats" if model.can_chat else "completes text"
        session.display.say(f"{model.name} {what}, {model.context_tokens:,} tokens of context; /help lists commands")
        converse(session, lambda: input("> " if sys.stdout.isatty() else ""))


def _display() -> Display:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding does not have
    return TerminalDisplay() if sys.stdout.isatty() else PipeDisplay(sys.stdout)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ChatError(f"standard input is not UTF-8: {data!r:.60}; convert it first") from None


def _in_one_line(act: Callable[[], None]) -> None:
    try:
        act()
    except REFUSALS as error:
        raise StoreError(str(error)) from None
