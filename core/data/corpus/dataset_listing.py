"""How the source `dataset:<owner>/<name>` is dealt to shards, as it says itself.

Cheap to import and to ask: recipes need the number of shards before any stage runs.
"""

from __future__ import annotations

from core.data.corpus.source_text import SourceText, parse_source
from core.stages.context import StageError

SCHEME = "dataset"
OPTIONS = {"config": "", "split": "train", "shards": "", "documents": "10000"}
TOKENS_PER_DOCUMENT = 200  # pessimistic, after cropping: web pages have four times as many


class DatasetListing:
    """Runs of `documents` rows as shards; the one after the last of `shards` is held out for validation."""

    def __init__(self, name: str) -> None:
        """Raises `StageError` for a name that cannot be one."""
        self.name = name
        self.written: SourceText = parse_source(name, OPTIONS)
        self.validation_shard = self._number("shards")
        self.documents_per_shard = self._number("documents")

    @property
    def tokens_per_shard(self) -> int:
        """Pessimistic estimate for planning."""
        return self.documents_per_shard * TOKENS_PER_DOCUMENT

    def _number(self, option: str) -> int:
        text = self.written.options[option]
        if not text.isdigit() or int(text) < 1:
            raise StageError(f"{self.name}: {option} must be a positive number, e.g. {option}=100; it is {text!r}")
        return int(text)
