"""What is done about rows that are no documents: the stage ends at the first, or they are left out and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.data.corpus.document_rows import Bad
from core.data.corpus.source_text import OnBadRow
from core.stages.context import StageError


class GoodRows:
    """The documents among `rows`, which begin at row `first` of the file called `name`, counted as they pass."""

    def __init__(self, rows: Iterable[str | Bad], name: str, on_bad_row: OnBadRow, first: int = 0) -> None:
        self._rows, self._name, self._on_bad_row, self._first = rows, name, on_bad_row, first
        self.kept = 0
        self.skipped = 0

    def __iter__(self) -> Iterator[str]:
        for number, row in enumerate(self._rows, self._first):
            if isinstance(row, Bad):
                if self._on_bad_row == "fail":
                    raise StageError(
                        f"{self._name}: row {number} {row.why}; repair it, or add on_bad_row=skip to the source"
                    )
                self.skipped += 1
            else:
                self.kept += 1
                yield row
