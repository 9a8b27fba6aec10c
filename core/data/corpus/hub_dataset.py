"""Any dataset of the Hugging Face Hub with a column of text, streamed by `datasets`; nothing is loaded whole.

A shard is a run of rows in the dataset's own order: shard k has rows [k * documents, (k + 1) * documents). The one
after the last of `shards` is held out for validation. To reach a shard, the rows before it are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from core.data.corpus.artifact import write_documents
from core.data.corpus.bad_rows import GoodRows
from core.data.corpus.dataset_listing import DatasetListing
from core.data.corpus.document_rows import Bad, checked
from core.data.corpus.read_record import FileRead, Revision
from core.data.corpus.watch import Watch
from core.stages.context import StageError, StageUnavailable


class HubDataset:
    """The source `dataset:<owner>/<name>`, options `config`, `split`, `text`, `shards`, `documents`, `on_bad_row`."""

    at_once = 1
    one_version = False

    def __init__(self, name: str) -> None:
        """Raises `StageError` for a name that cannot be one."""
        self.name = name
        listing = DatasetListing(name)
        self._written = listing.written
        self.validation_shard = listing.validation_shard
        self._documents_per_shard = listing.documents_per_shard

    def resolve(self, revision: str, watch: Watch) -> Revision:
        """`datasets` asks the Hub itself."""
        return Revision(asked=revision)

    def write_shard(self, number: int, revision: Revision, target: Path, watch: Watch) -> tuple[FileRead, ...]:
        """Write the shard's rows; raise `StageError` when the dataset ends before them or one is bad."""
        first = number * self._documents_per_shard
        name = f"{self._written.place}/{self._written.options['split']}"
        rows = GoodRows(self._rows(revision.read, first, name), name, self._written.on_bad_row, first)
        digest, size = hashlib.sha256(), 0

        def documents() -> Iterator[str]:
            nonlocal size
            for text in rows:
                content = text.encode()
                digest.update(content)
                size += len(content)
                yield text

        write_documents(target, documents())
        end = first + rows.kept + rows.skipped
        if end < first + self._documents_per_shard:
            raise StageError(f"{name} has {end:,} rows, too few for shard {number}; name fewer shards or documents")
        file = f"{name}[{first}:{end}]"
        return (
            FileRead(
                file=file,
                bytes=size,
                sha256=digest.hexdigest(),
                version=revision.read,
                rows=rows.kept,
                skipped=rows.skipped,
            ),
        )

    def _rows(self, revision: str, first: int, name: str) -> Iterator[str | Bad]:
        import datasets

        column, config = self._written.column, self._written.options["config"] or None
        try:
            stream = datasets.load_dataset(
                self._written.place,
                config,
                split=self._written.options["split"],
                revision=revision,
                streaming=True,
            )
            for row in stream.skip(first).take(self._documents_per_shard):
                if column not in row:
                    raise StageError(f"{name} has no column {column!r}; its columns are {', '.join(row)}")
                yield checked(row[column])
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            kind = StageUnavailable if isinstance(error, ConnectionError) else StageError
            raise kind(f"{name} at {revision} cannot be read: {reason}; check the name and HF_TOKEN") from error
