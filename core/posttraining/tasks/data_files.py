"""The files of one split of a data set, in a folder or a bucket, as one table of rows by index.

Parquet is memory-mapped by `datasets`; JSON lines are read line by line, since their rows need not be of one shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import fsspec

from core.posttraining.tasks.json_lines import JsonLines
from core.stages.context import StageError, StageUnavailable

FORMATS = (".parquet", ".jsonl")


class Table(Protocol):
    """Rows by index, as `datasets.Dataset` gives them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def split_files(root: str, folders: Sequence[str], split: str) -> tuple[str, ...]:
    """URLs of `<root>/<folder>/<split>*.parquet` (or .jsonl), by name, in the first folder that has any."""
    with reading(root):
        filesystem, path = fsspec.core.url_to_fs(root)
        for folder in folders:
            below = f"{path.rstrip('/')}/{folder}".rstrip("/")
            found = [str(name) for name in filesystem.glob(f"{below}/{split}[-.]*") if _suffix(str(name)) in FORMATS]
            if found:
                return tuple(filesystem.unstrip_protocol(name) for name in sorted(found))
    return ()


def open_files(urls: Sequence[str]) -> Table:
    """All rows of these files, in order; raise `StageError` when they are not of one known format."""
    formats = {_suffix(url) for url in urls}
    if len(formats) != 1 or not formats <= set(FORMATS):
        raise StageError(f"{urls[0]}: a split is either parquet or JSON lines ({' or '.join(FORMATS)})")
    with reading(urls[0]):
        return _open_parquet(urls) if formats == {".parquet"} else JsonLines(local_copies(urls))


def local_copies(urls: Sequence[str]) -> list[Path]:
    """Where these files can be read: themselves, or copies that end with the process. Raises `OSError`."""
    local = [url for url in urls if url.startswith("file://") or "://" not in url]
    if len(local) == len(urls):
        return [Path(url.removeprefix("file://")) for url in urls]
    return [Path(path) for path in fsspec.open_local([f"simplecache::{url}" for url in urls])]


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Errors of files and their formats as one line; what a network may do is worth another try."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StageUnavailable(f"{url} cannot be read: {reason}; check the URL and its access") from error


def _open_parquet(urls: Sequence[str]) -> Table:
    import datasets

    try:
        files = [url.removeprefix("file://") for url in urls]
        table: Table = datasets.load_dataset("parquet", data_files=files, split="train")
    except datasets.exceptions.DatasetsError as error:
        raise ValueError(str(error)) from error
    return table


def _suffix(url: str) -> str:
    return PurePosixPath(url).suffix
