"""What a run of one tag or many left behind, as the command line knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Reference = Mapping[str, Any]  # of a stage that exists: state, seconds, metrics, summary


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """By key of the stage."""

    tags: tuple[str, ...]
    stages: Mapping[str, Reference]
    failed: Mapping[str, str] = field(default_factory=dict)  # the error, in one line
    blocked: Mapping[str, str] = field(default_factory=dict)  # the failed stage it waited for
    verdict: str = ""  # one line that says which tags are complete

    def listing(self) -> dict[str, object]:
        """The JSON shape: `tag` for one tag; `tags`, `failed` and `blocked` for many."""
        if len(self.tags) == 1:
            return {"tag": self.tags[0], "stages": self.stages}
        return {"tags": self.tags, "stages": self.stages, "failed": self.failed, "blocked": self.blocked}
