"""What a person sets in a chat: how answers are drawn, and which way text is completed."""

from __future__ import annotations

from dataclasses import dataclass

from core.data.direction import Way


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """`seed` None: another one for every answer. `tokens` None: as long as the context allows."""

    temperature: float = 0.6
    top_k: int | None = 50
    top_p: float | None = None
    seed: int | None = None
    tokens: int | None = None
    direction: Way | None = None  # None: the first way the model has
