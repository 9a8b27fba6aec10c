"""Conversations of one's own: `conversations:<URL of a .jsonl file>#sha256=<hex>`, in a folder or a bucket.

A line is `{"messages": [...]}` or the bare list of messages. The digest makes the file part of every key that it has a
part in. A line that is no conversation ends the stage, or with `&on_bad_row=skip` is left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from core.data.corpus.source_text import SourceText, parse_source
from core.data.corpus.transfer import sha256_of
from core.posttraining.conversation import Conversation, parse_conversation
from core.posttraining.tasks.data_files import Table, local_copies, reading
from core.posttraining.tasks.json_lines import JsonLines
from core.posttraining.tasks.task import Examples, Material, Split
from core.stages.context import StageError

SCHEME = "conversations"


@dataclass(frozen=True)
class ConversationFile:
    """A task whose examples, of either split, are the lines of one file."""

    name: str
    unique_answer = False
    judge = None

    def open(self, split: Split, rows: int | None, material: Material) -> Examples:
        """The first `rows` lines; raise `StageError` naming the line that is no conversation, or another digest."""
        url = self._written.place
        with reading(url):
            (path,) = local_copies([url])
            digest = sha256_of(path)
            table = JsonLines([path])
        self._check_digest(digest)
        good = self._good_lines(table)
        if not good or (rows is not None and rows > len(good)):
            raise StageError(f"{url} has {len(good):,} conversations, the recipe asks for {rows or 'some'}")
        skipped = len(table) - len(good)
        return _Lines(table=table, lines=good if rows is None else good[:rows], origin=self.name, skipped=skipped)

    def _good_lines(self, table: Table) -> list[int]:
        good = []
        for line in range(len(table)):
            try:
                _conversation(table, line)
            except ValueError as error:
                if self._written.on_bad_row == "fail":
                    raise StageError(
                        f"{self._written.place}: conversation {line + 1}: {error}; repair it, or add on_bad_row=skip"
                    ) from error
            else:
                good.append(line)
        return good

    @cached_property
    def _written(self) -> SourceText:
        return parse_source(self.name, {"sha256": ""})

    def _check_digest(self, found: str) -> None:
        wanted = self._written.options["sha256"]
        if wanted != found:
            said = f"not {wanted[:12]}..." if wanted else "which is not said"
            raise StageError(f"{self._written.place}: its sha256 is {found}, {said}; write #sha256={found} to use it")


@dataclass(frozen=True, kw_only=True)
class _Lines:
    table: Table
    lines: list[int]
    origin: str
    skipped: int

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int, /) -> Conversation:
        return _conversation(self.table, self.lines[index])


def _conversation(table: Table, line: int) -> Conversation:
    value = table[line]
    return parse_conversation({"messages": value} if isinstance(value, list) else value)
