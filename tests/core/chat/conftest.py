"""Models that say what a test wants, and sessions with them whose output is a string."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from reciting import COFFEE, ENDLESS, LETTERS, SUM, reciter
from rich.console import Console
from talking import Begin, Talk

from core.chat.session import Session
from core.chat.settings import ChatSettings
from core.chat.terminal import PipeDisplay, TerminalDisplay
from core.chat.text_model import TextModel

Models = Mapping[str, TextModel]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """By name; `short` has a context of 64 tokens, `both_ways` is a base model of both directions."""
    folder = tmp_path_factory.mktemp("models")
    made = [
        reciter(folder, "sums", SUM),
        reciter(folder, "letters", ENDLESS),
        reciter(folder, "coffee", COFFEE),
        reciter(folder, "short", ENDLESS, context=64),
        reciter(folder, "brief", COFFEE, context=64),
        reciter(folder, "both_ways", LETTERS, direction="bidirectional"),
    ]
    return {model.name: model for model in made}


@pytest.fixture
def in_pipe(models: Models) -> Begin:
    """`in_pipe(model, **settings)`: a session whose output is a pipe."""

    def begin(model: str, **settings: object) -> Talk:
        output = io.StringIO()
        return Talk(Session(models[model], ChatSettings(temperature=0, **settings), PipeDisplay(output)), output)

    return begin


@pytest.fixture
def on_terminal(models: Models) -> Begin:
    """The same on a terminal of 80 columns."""

    def begin(model: str, **settings: object) -> Talk:
        output = io.StringIO()
        console = Console(file=output, force_terminal=True, color_system="standard", width=80, highlight=False)
        return Talk(Session(models[model], ChatSettings(temperature=0, **settings), TerminalDisplay(console)), output)

    return begin
