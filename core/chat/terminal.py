"""Where a chat is shown: a terminal, with the calls of Python dimmed, or a pipe, which gets the prose and nothing else.

On a terminal, control characters that a model writes are made visible instead of obeyed.
"""

from __future__ import annotations

from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from core.data.direction import Way
from core.posttraining.conversation import Part, PartKind

SHOWN_AS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def visible(text: str) -> str:
    """`text` with control characters replaced by their pictures; line ends and tabs stay."""
    return text.translate(SHOWN_AS)


class Display(Protocol):
    """What a session writes to."""

    def begin(self, prompt: str, way: Way | None) -> None:
        """An answer comes: to a message (`way` None), or a text that is completed in this way."""

    def piece(self, piece: Part) -> None:
        """Its next piece; backward, one that precedes those before."""

    def end(self, note: str | None) -> None:
        """It is complete, or why it is not."""

    def say(self, line: str) -> None:
        """Something that is no model's text."""


class PipeDisplay:
    """Only the prose of each answer, each followed by a line end; backward, once it is complete."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._backward: list[str] | None = None

    def begin(self, prompt: str, way: Way | None) -> None:
        self._backward = [] if way == "backward" else None

    def piece(self, piece: Part) -> None:
        if piece.kind != "text":
            return
        if self._backward is not None:
            self._backward.append(piece.text)
        else:
            self._output.write(piece.text)
            self._output.flush()

    def end(self, note: str | None) -> None:
        self._output.write("".join(reversed(self._backward or [])) + "\n")
        self._output.flush()

    def say(self, line: str) -> None:
        """Nobody is there to read it."""


class TerminalDisplay:
    """Everything, as it comes; a call of Python stands dimmed in brackets, `[12*3 = 36]`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._prompt = ""
        self._written = ""
        self._kind: PartKind = "text"
        self._live: Live | None = None

    def begin(self, prompt: str, way: Way | None) -> None:
        self._prompt, self._written = prompt, ""
        if way == "forward":
            self._print(prompt, "dim")
        elif way == "backward":
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()

    def piece(self, piece: Part) -> None:
        if self._live is not None:
            self._written = piece.text + self._written
            self._live.update(self._whole(), refresh=True)
        else:
            self._turn_to(piece.kind)
            self._print(piece.text, "" if piece.kind == "text" else "dim")

    def end(self, note: str | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._console.print(self._whole(), end="")
        self._turn_to("text")
        self._console.print()
        if note:
            self.say(note)

    def say(self, line: str) -> None:
        self._console.print(Text(visible(line), style="dim italic"), soft_wrap=True)

    def _turn_to(self, kind: PartKind) -> None:
        """Mark where a call of Python begins, gives its result, and ends."""
        before, self._kind = self._kind, kind
        if before != kind:
            self._print({"python": "[", "python_output": " = ", "text": "]"}[kind], "dim")

    def _whole(self) -> Text:
        return Text.assemble(visible(self._written), (visible(self._prompt), "dim"))

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(visible(text), style=style), end="", soft_wrap=True)
