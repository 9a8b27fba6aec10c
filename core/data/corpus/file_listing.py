"""Which files the source `files:<glob>` reads, and the revision that names them.

Cheap to import and to ask (one listing): recipes need the revision before any stage runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import fsspec

from core.data.corpus.fsspec_file import reason, version_of
from core.data.corpus.source_text import SourceText, parse_source
from core.stages.context import StageError, StageUnavailable

SCHEME = "files"
MOST_SHARDS = 1000
BYTES_PER_TOKEN = 8  # pessimistic: 4 to 5 bytes of text make a token, and packing crops a third


@dataclass(frozen=True)
class ListedFile:
    """A file that matches."""

    url: str
    size: int
    version: str | None

    @property
    def name(self) -> str:
        """Its last part."""
        return self.url.rpartition("/")[2]


class FileListing:
    """The files of one source, dealt in the order of their names to at most 1,000 shards."""

    def __init__(self, name: str) -> None:
        """Raises `StageError` for a name that cannot be one."""
        self.name = name
        self.written: SourceText = parse_source(name, {})
        place = self.written.place
        if "://" not in place and not place.startswith("/"):
            raise StageError(f"{name}: a folder is written from the root, as in files:/data/*.parquet")

    @cached_property
    def files(self) -> tuple[ListedFile, ...]:
        """The files that match now, by name. Raises `StageError` when fewer than two do."""
        try:
            filesystem, path = fsspec.core.url_to_fs(self.written.place)
            filesystem.invalidate_cache()
            found = filesystem.glob(path, detail=True)
        except Exception as error:  # every file system has exceptions of its own
            raise StageUnavailable(
                f"{self.name} cannot be listed: {reason(error)}; check the URL and its access"
            ) from error
        files = tuple(
            ListedFile(filesystem.unstrip_protocol(path), entry["size"], version_of(entry))
            for path, entry in sorted(found.items())
            if entry["type"] == "file"
        )
        if len(files) < 2:
            raise StageError(f"{self.name} matches {len(files)} files; it takes two, the last is held out")
        return files

    @property
    def validation_shard(self) -> int:
        """The last shard."""
        return min(len(self.files), MOST_SHARDS) - 1

    @property
    def revision(self) -> str:
        """`files-` and 12 hex digits over URLs, sizes and versions of what matches."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.url}\0{file.size}\0{file.version}\n".encode())
        return f"{SCHEME}-{digest.hexdigest()[:12]}"

    @property
    def tokens_per_shard(self) -> int:
        """Pessimistic estimate for planning, from the sizes of the files that train."""
        training = sum(file.size for number in range(self.validation_shard) for file in self.of_shard(number))
        return max(1, training // BYTES_PER_TOKEN // self.validation_shard)

    def of_shard(self, number: int) -> tuple[ListedFile, ...]:
        """The files of shard `number`."""
        count, shards = len(self.files), self.validation_shard + 1
        return self.files[number * count // shards : (number + 1) * count // shards]
