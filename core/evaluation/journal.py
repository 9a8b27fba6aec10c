"""What a long measurement has found so far, part by part, so that one that was killed goes on where it was.

A part is a name and its records. Those that are new are saved at the stage's checkpoint interval, and found again by
the next try: what comes out is the same, whether or not it was interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter

from core.stages.context import StageContext

RecordT = TypeVar("RecordT")

FILE = "parts.jsonl"


class Journal:
    """Measures each part once, in this try or an earlier one."""

    def __init__(self, context: StageContext[Any]) -> None:
        self._context = context
        self._found: dict[str, str] = {}  # part -> its records as JSON
        for saved in context.checkpoints.every():
            for line in (saved.path / FILE).read_text("utf-8").splitlines():
                part = json.loads(line)
                self._found[part["part"]] = part["records"]
        self._unsaved: list[str] = []
        self._saved = time.monotonic()

    def records(
        self, part: str, kind: TypeAdapter[list[RecordT]], measure: Callable[[], Sequence[RecordT]]
    ) -> list[RecordT]:
        """The records of a part, which `measure` makes where no try has finished it."""
        if part not in self._found:
            self._found[part] = kind.dump_json(list(measure())).decode()
            self._unsaved.append(part)
            self._save_when_due()
        return kind.validate_json(self._found[part])

    def _save_when_due(self) -> None:
        if time.monotonic() - self._saved < self._context.runtime.checkpoint_seconds:
            return
        step = len(self._found)
        folder = self._context.scratch / f"checkpoint-{step}"
        folder.mkdir()
        lines = [json.dumps({"part": part, "records": self._found[part]}) + "\n" for part in self._unsaved]
        (folder / FILE).write_text("".join(lines), encoding="utf-8")
        self._context.checkpoints.add(step, folder)
        self._unsaved.clear()
        self._saved = time.monotonic()
