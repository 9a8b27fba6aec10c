"""A mirror of the Hub in a bucket or folder: `MINISERIES_MIRROR`, an fsspec URL laid out like the Hub.

A file is at `<mirror>/datasets/<owner>/<name>/resolve/<revision>/<file>`.
"""

from __future__ import annotations

import os

from core.data.corpus.fsspec_file import FsspecFile
from core.data.corpus.hub_file import HubFile

VARIABLE = "MINISERIES_MIRROR"


def mirrored(file: HubFile) -> FsspecFile | None:
    """The copy of `file` on the mirror, if one is configured; whether it is there is seen when it is read."""
    root = mirrored_dataset(file.repository, file.revision)
    return None if root is None else FsspecFile(url=f"{root}/{file.name}", name=file.name)


def mirrored_dataset(repository: str, revision: str) -> str | None:
    """Where a mirror, if one is configured, keeps the files of a dataset."""
    mirror = os.environ.get(VARIABLE, "").rstrip("/")
    return f"{mirror}/datasets/{repository}/resolve/{revision}" if mirror else None
