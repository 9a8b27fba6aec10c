"""Small sealed objects beside the artifacts, which may be written again: the last writer counts, readers see one whole.

What a record holds is its owner's business: a pydantic model with `artifacts.manifest.STRICT` settings and a field
`nonce` that makes every write's bytes unique.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from artifacts.errors import StoreError, StoreUnavailable
from artifacts.manifest import read_sealed, seal
from artifacts.storage import Storage

WRITE_TRIES = 10  # against others who write the same record at the same time

RecordT = TypeVar("RecordT", bound=BaseModel)


class Records:
    """The records of one store, by path."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self, path: str, model: type[RecordT]) -> RecordT | None:
        """The record at `path`, None when there is none. Raises `StoreError` for one that cannot be read."""
        found = self._storage.read(path)
        if found is None:
            return None
        where = f"{self._storage.url}/{path}"
        try:
            return read_sealed(model, found.content, where)
        except StoreError as error:
            raise StoreError(f"{error}; delete that file, nothing else depends on it") from error

    def write(self, path: str, record: BaseModel) -> None:
        """Write `record`, over an earlier one if there is any."""
        content = seal(record.model_dump(mode="json"))
        for _ in range(WRITE_TRIES):
            found = self._storage.read(path)
            if found is None:
                written = self._storage.create(path, content)
            else:
                written = self._storage.replace(path, content, found.version)
            if written is not None:
                return
        raise StoreUnavailable(f"{self._storage.url}/{path}: others keep writing it; run again when they are done")
