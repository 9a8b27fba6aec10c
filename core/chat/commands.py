"""What can be typed besides messages: one table of slash commands.

A command gets the session and the rest of its line; it says what it did in a line, or raises `ChatError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import nan
from pathlib import Path

from core.chat.session import ChatError, Session
from core.chat.settings import ChatSettings


class Leave(Exception):
    """The person asked to leave."""


@dataclass(frozen=True)
class Command:
    """One row of the table."""

    argument: str  # as the help shows it
    help: str
    act: Callable[[Session, str], str]


def run_command(session: Session, line: str) -> str:
    """Obey a line that begins with `/`; return what to say. Raises `ChatError`, `Leave`."""
    name, _, argument = line[1:].strip().partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists them"
        raise ChatError(f"there is no command /{name}; {hint} (a message that begins with / needs a blank before it)")
    try:
        return command.act(session, argument.strip())
    except OSError as error:
        raise ChatError(f"/{name}: {error.strerror}: {error.filename}") from None


def _help(_session: Session, _argument: str) -> str:
    heads = {name: f"/{name} {command.argument}".rstrip() for name, command in COMMANDS.items()}
    width = max(map(len, heads.values()))
    lines = [f"{heads[name]:{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "Ctrl-C stops an answer; twice leaves."])


def _clear(session: Session, _argument: str) -> str:
    session.clear()
    return "a new conversation"


def _save(session: Session, argument: str) -> str:
    session.require_chat()
    session.save(_path(argument))
    return f"{len(session.messages)} messages saved"


def _load(session: Session, argument: str) -> str:
    session.load(_path(argument))
    return f"{len(session.messages)} messages loaded"


def _temperature(session: Session, argument: str) -> str:
    value = _number(argument, "/temperature", 0.0, 100.0)
    return _set(session, replace(session.settings, temperature=value))


def _top_k(session: Session, argument: str) -> str:
    return _set(session, replace(session.settings, top_k=_count(argument, "/top_k")))


def _top_p(session: Session, argument: str) -> str:
    value = None if argument == "off" else _number(argument, "/top_p", 0.0, 1.0)
    if value == 0:
        raise ChatError("/top_p: above 0 and at most 1, or off")
    return _set(session, replace(session.settings, top_p=value))


def _seed(session: Session, argument: str) -> str:
    return _set(session, replace(session.settings, seed=_count(argument, "/seed")))


def _tokens(session: Session, argument: str) -> str:
    return _set(session, replace(session.settings, tokens=_count(argument, "/tokens")))


def _direction(session: Session, argument: str) -> str:
    ways = session.model.speaker.ways
    for way in ways:
        if argument == way:
            return _set(session, replace(session.settings, direction=way))
    raise ChatError(f"/direction: {session.model.name} reads {' or '.join(ways)}, not {argument!r}")


def _quit(_session: Session, _argument: str) -> str:
    raise Leave


def _set(session: Session, settings: ChatSettings) -> str:
    session.settings = settings
    values = {
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "seed": settings.seed,
        "tokens": settings.tokens,
        "direction": session.way,
    }
    return ", ".join(f"{name} {'off' if value is None else value}" for name, value in values.items())


def _path(argument: str) -> Path:
    if not argument:
        raise ChatError("name a file, e.g. /save talk.json")
    return Path(argument).expanduser()


def _number(argument: str, name: str, least: float, most: float) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = nan
    if not least <= value <= most:
        raise ChatError(f"{name}: {argument!r} is no number from {least:g} to {most:g}")
    return value


def _count(argument: str, name: str) -> int | None:
    if argument == "off":
        return None
    if not (argument.isascii() and argument.isdigit() and int(argument)):
        raise ChatError(f"{name}: a whole number of at least 1, or off")
    return int(argument)


COMMANDS = {
    "help": Command("", "this list", _help),
    "clear": Command("", "begin a new conversation", _clear),
    "save": Command("FILE", "write the conversation as JSON", _save),
    "load": Command("FILE", "go on with a saved conversation", _load),
    "temperature": Command("X", "0 takes the likeliest token, 1 draws as the model predicts", _temperature),
    "top_k": Command("N|off", "draw from the N likeliest tokens", _top_k),
    "top_p": Command("X|off", "draw from the fewest tokens that together have probability X", _top_p),
    "seed": Command("N|off", "the same answer to the same question every time", _seed),
    "tokens": Command("N|off", "longest answer", _tokens),
    "direction": Command("forward|backward", "what comes next, or what came before; for base models", _direction),
    "quit": Command("", "leave", _quit),
}
