"""JSON lines by index: where each line begins is in memory, a line is parsed when it is asked for."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class JsonLines:
    """The lines of several files, one after another; blank lines are passed over."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads every file once. Raises `OSError`."""
        self._files = [path.open("rb") for path in paths]
        self._places = array("q")  # file, offset and line number of each row in turn
        for number, file in enumerate(self._files):
            offset = 0
            for line_number, line in enumerate(file, start=1):
                if line.strip():
                    self._places.extend((number, offset, line_number))
                offset += len(line)

    def __len__(self) -> int:
        return len(self._places) // 3

    def __getitem__(self, index: int, /) -> Any:
        """The value of a row; raises ValueError that names its line when it is no JSON."""
        number, offset, line_number = self._places[3 * index : 3 * index + 3]
        file = self._files[number]
        file.seek(offset)
        try:
            return json.loads(file.readline())
        except ValueError as error:
            raise ValueError(f"line {line_number} of {Path(file.name).name} is no JSON: {error}") from error
