"""The loops around a session: a person at a terminal, the lines of a pipe, or one message.

Ctrl-C stops an answer; at the prompt it leaves once it is pressed twice without a line in between.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from core.chat.commands import Leave, run_command
from core.chat.session import ChatError, Session
from core.chat.text_model import TextError
from core.inference.engine import ContextError
from core.posttraining.conversation import ConversationError

REFUSALS = (ChatError, ContextError, ConversationError, TextError)  # each one line
ReadLine = Callable[[], str]  # raises EOFError at the end


def converse(session: Session, read_line: ReadLine) -> None:
    """Take lines from a person until they leave; whatever cannot be done is told, and the chat goes on."""
    try:
        _take_lines(session, read_line)
    except KeyboardInterrupt:  # a second one, while the first was being told
        return


def _take_lines(session: Session, read_line: ReadLine) -> None:
    was_interrupted = False
    while True:
        try:
            line = read_line()
        except EOFError:
            return
        except KeyboardInterrupt:
            if was_interrupted:
                return
            was_interrupted = True
            session.display.say("Ctrl-C again or /quit leaves")
            continue
        try:
            with _stopping_answers(session) as interrupted:
                _obey(session, line)
            was_interrupted = bool(interrupted)
        except REFUSALS as error:
            session.display.say(str(error))
        except Leave:
            return


def converse_in_pipe(session: Session, lines: Iterable[str]) -> None:
    """Take every line as a person's would be taken. Raises one of `REFUSALS` at the first that cannot be."""
    try:
        for line in lines:
            _obey(session, line.rstrip("\r\n"))
    except Leave:
        return


def _obey(session: Session, line: str) -> None:
    if line.startswith("/"):
        session.display.say(run_command(session, line))
    elif line.strip():
        session.say(line)


@contextmanager
def _stopping_answers(session: Session) -> Iterator[list[int]]:
    """While the block runs, Ctrl-C ends the answer instead of the program; gives the signals that came."""
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        session.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
