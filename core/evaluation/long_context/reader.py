"""The model that is measured, as the parts of the measurement see it: how it reads, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from core.data.direction import Reading, Way, readings
from core.evaluation.long_context.asking import Asker, Writing
from core.evaluation.long_context.needles import Frame
from core.evaluation.subject import Subject


@dataclass(frozen=True)
class Reader:
    """A model, and the room that a prompt leaves for its answer, in tokens."""

    subject: Subject
    room: int

    @property
    def trained_length(self) -> int:
        """T that it was last trained at."""
        return self.subject.state.sequence_length

    @cached_property
    def ways(self) -> Mapping[Way, Reading]:
        """In which it reads."""
        return readings(self.subject.state.direction, self.subject.tokenizer)

    @property
    def first_reading(self) -> Reading:
        """Forward, but for a model that only reads backward."""
        return next(iter(self.ways.values()))

    @property
    def can_chat(self) -> bool:
        """Whether it was fine-tuned on conversations."""
        return self.subject.state.phase == "sft"

    @property
    def frame(self) -> Frame:
        """How a prompt begins and ends: a conversation for a fine-tuned model, a line of its own for a base model."""
        tokenizer, opening = self.subject.tokenizer, self.ways["forward"].opening
        if not self.can_chat:
            return Frame(before=opening, after=tuple(tokenizer.encode("\n")), asks=False)
        return Frame(
            before=(*opening, tokenizer.special("<|user_start|>")),
            after=(tokenizer.special("<|user_end|>"), tokenizer.special("<|assistant_start|>")),
            asks=True,
        )

    @property
    def asker(self) -> Asker:
        """Who asks it."""
        stops = self.subject.speaker.chat_stops
        writing = Writing(max_tokens=self.room, stops=stops) if self.can_chat else None
        return Asker(self.subject.model, self.subject.tokenizer, writing)
