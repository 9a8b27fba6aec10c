"""The real engine, one step for each permit: a test decides how far an answer has come."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from core.chat.text_model import TextModel
from core.inference.engine import End, Engine, Token


class GatedEngine(Engine):
    """Steps when a permit is there; `broken` makes the next step fail."""

    permits: threading.Semaphore
    broken: threading.Event

    def step(self) -> list[Token | End]:
        self.permits.acquire()
        if self.broken.is_set():
            raise RuntimeError("out of memory")
        return super().step()


@dataclass(frozen=True)
class GatedModel(TextModel):
    """A model whose engines share one gate."""

    permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    broken: threading.Event = field(default_factory=threading.Event)

    def engine(self, slots: int) -> GatedEngine:
        engine = GatedEngine(self.subject.model, context_tokens=self.context_tokens, slots=slots)
        engine.permits, engine.broken = self.permits, self.broken
        return engine
