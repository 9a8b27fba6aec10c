"""A chat session and what it wrote so far."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from core.chat.session import Session


@dataclass(frozen=True)
class Talk:
    """A session whose display writes into `output`."""

    session: Session
    output: io.StringIO

    @property
    def written(self) -> str:
        """All of it."""
        return self.output.getvalue()


Begin = Callable[..., Talk]  # a model's name and settings
