"""A corpus of one's own: parquet, JSON lines or text files that match a glob, in a folder or a bucket.

Files are dealt in the order of their names to at most 1,000 shards; the last is held out for validation. The revision
names the files with their sizes and versions, so a file that comes, goes or changes is another corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.data.corpus.artifact import write_documents
from core.data.corpus.bad_rows import GoodRows
from core.data.corpus.document_rows import document_rows
from core.data.corpus.file_listing import FileListing, ListedFile
from core.data.corpus.fsspec_file import FsspecFile, NotThereError
from core.data.corpus.read_record import FileRead, Revision
from core.data.corpus.transfer import TransferBroken, fetch, sha256_of
from core.data.corpus.watch import Watch
from core.stages.context import StageError, StageUnavailable


class Files:
    """The source `files:<glob>`, options `text` (the column) and `on_bad_row`."""

    at_once = 4
    one_version = False

    def __init__(self, name: str) -> None:
        """Raises `StageError` for a name that cannot be one."""
        self.name = name
        self._listing = FileListing(name)

    @property
    def validation_shard(self) -> int:
        """The last shard."""
        return self._listing.validation_shard

    def resolve(self, revision: str, watch: Watch) -> Revision:
        """The revision names the files themselves."""
        return Revision(asked=revision)

    def write_shard(self, number: int, revision: Revision, target: Path, watch: Watch) -> tuple[FileRead, ...]:
        """Write the documents of the shard's files; raise `StageError` naming file and row where that cannot be."""
        if revision.asked != self._listing.revision:
            now = self._listing.revision
            raise StageError(f"{self.name} changed: it was {revision.asked}, it is {now}; plan it again")
        read: list[FileRead] = []
        write_documents(target, self._documents(number, target, watch, read))
        return tuple(read)

    def _documents(self, number: int, target: Path, watch: Watch, read: list[FileRead]) -> Iterator[str]:
        """Documents of one shard; each file is fetched, read, recorded in `read`, and removed."""
        for file in self._listing.of_shard(number):
            local = target.with_name(f"{target.name}.source")
            self._fetch(file, local, watch)
            rows = GoodRows(
                document_rows(local, file.name, self._listing.written.column),
                file.name,
                self._listing.written.on_bad_row,
            )
            yield from rows
            read.append(
                FileRead(
                    file=file.url,
                    bytes=file.size,
                    sha256=sha256_of(local),
                    version=file.version,
                    rows=rows.kept,
                    skipped=rows.skipped,
                )
            )
            local.unlink()

    def _fetch(self, file: ListedFile, local: Path, watch: Watch) -> None:
        """Bring the file as it was listed."""
        remote = FsspecFile(url=file.url, name=file.name)
        try:
            before = fetch(remote, local, watch)
            after = remote.announced()
        except NotThereError as error:
            raise StageError(f"{error} any more; plan {self.name} again") from error
        except TransferBroken as error:
            raise StageUnavailable(f"{error}; run it again") from error
        finally:
            watch.finished(file.name)
        for now in (before, after):
            if (now.size, now.version) != (file.size, file.version):
                raise StageError(
                    f"{file.name} changed under the run: version {file.version} became {now.version}; plan it again"
                )
