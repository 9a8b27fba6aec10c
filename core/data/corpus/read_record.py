"""What a corpus stage has read, at which commit and file by file: the record that goes into the manifest's metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Revision:
    """The revision that was asked for, and the commit that it was when the stage began; None: the source has none."""

    asked: str
    commit: str | None = None

    @property
    def read(self) -> str:
        """What is read."""
        return self.commit or self.asked


@dataclass(frozen=True, kw_only=True)
class FileRead:
    """One file of the source.

    `version` is the commit or ETag under which it was served, `rows` the documents kept, `skipped` the bad ones.
    None: nobody said, or it is counted later.
    """

    file: str
    bytes: int
    sha256: str
    version: str | None
    rows: int | None = None
    skipped: int = 0
