"""Texts at which an answer ends: they and what follows them are not part of it.

What may be the beginning of one is held back until it is known not to be. The text that is first complete counts, of
several that end at one place the longest; how the answer is cut into pieces does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.chat.text_model import PieceStream
from core.posttraining.conversation import Part


class StopStrings:
    """Pieces of an answer up to the first of `stops` in its prose; a call of Python is no prose, and parts it."""

    def __init__(self, pieces: PieceStream, stops: Sequence[str]) -> None:
        self.is_met = False
        self._pieces = pieces
        self._stops = stops
        self._held = ""

    def push(self, token: int) -> list[Part]:
        """What `token` adds, maybe nothing yet; after `is_met` nothing more."""
        return [part for piece in self._pieces.push(token) for part in self._pass(piece)]

    def finish(self) -> list[Part]:
        """What was held back, when nothing more comes."""
        parts = [part for piece in self._pieces.finish() for part in self._pass(piece)]
        return [*parts, *self._release()]

    def _pass(self, piece: Part) -> list[Part]:
        if self.is_met:
            return []
        if piece.kind != "text":
            return [*self._release(), piece]
        text = self._held + piece.text
        found = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.is_met, self._held = True, ""
            return _prose(text[: min(found)[1]])
        whole = len(text) - max((_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[whole:]
        return _prose(text[:whole])

    def _release(self) -> list[Part]:
        held, self._held = self._held, ""
        return _prose(held)


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((length for length in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:length])), 0)


def _prose(text: str) -> list[Part]:
    return [Part("text", text)] if text else []
