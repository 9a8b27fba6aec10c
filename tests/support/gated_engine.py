"""The real engine, one step for each permit: a test decides how far an answer has come."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from core.chat.text_model import TextModel
from core.inference.engine import End, Engine, Token


@dataclass(frozen=True)
class Gate:
    """One step for each permit, or any number once it is open; `broken` makes the next step fail."""

    permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    is_open: threading.Event = field(default_factory=threading.Event)
    broken: threading.Event = field(default_factory=threading.Event)

    def permit(self, steps: int) -> None:
        """Let it go on for this many steps."""
        self.permits.release(steps)

    def open(self) -> None:
        """Let it go on for good."""
        self.is_open.set()
        self.permits.release()

    def pass_through(self) -> None:
        """Wait for a permit, then take it."""
        self.permits.acquire()
        if self.broken.is_set():
            raise RuntimeError("out of memory")
        if self.is_open.is_set():
            self.permits.release()


class GatedEngine(Engine):
    """Steps through its gate."""

    gate: Gate

    def step(self) -> list[Token | End]:
        self.gate.pass_through()
        return super().step()


@dataclass(frozen=True)
class GatedModel(TextModel):
    """A model whose engines share one gate."""

    gate: Gate = field(default_factory=Gate)

    def engine(self, slots: int) -> GatedEngine:
        engine = GatedEngine(self.subject.model, context_tokens=self.context_tokens, slots=slots)
        engine.gate = self.gate
        return engine
