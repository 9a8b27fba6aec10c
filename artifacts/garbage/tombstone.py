"""A tombstone: what is to be deleted once an undo window has passed. Until then everything stays where it is.

    trash/<kind>/<name>-<key[:12]>.json

No byte is moved, so that marking a terabyte on S3 and undoing it are both one small object each. A tombstone names the
attempts and checkpoints that were there: if others are there later, the stage was worked on and the stone is void.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from artifacts.address import FOLDER, Address
from artifacts.errors import StoreError
from artifacts.manifest import FORMAT, STRICT

TRASH = "trash"
PATH = re.compile(rf"{TRASH}/(?P<folder>{FOLDER.pattern})\.json")

What = Literal["artifact", "unfinished", "leftovers"]


class Tombstone(BaseModel):
    """The contents of a tombstone. `artifact` and `unfinished` mean the whole folder, `leftovers` a part of it."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    folder: str
    what: What
    seen: tuple[str, ...]  # attempts and checkpoints that go: see `artifacts.garbage.census.names_of`
    marked: float = Field(default_factory=time.time)  # seconds since the epoch
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def address(self) -> Address:
        """Of the artifact, its key cut to 12 characters. Raises `StoreError` for a stone that names none."""
        address = Address.parse(self.folder)
        if address is None:
            raise StoreError(f"{TRASH}/{self.folder}.json names no artifact; delete that file")
        return address


def tombstone_path(folder: str) -> str:
    """Where the tombstone of an artifact's folder is, relative to the store."""
    return f"{TRASH}/{folder}.json"


def folder_of(path: str) -> str | None:
    """The folder that a tombstone at `path` is of; None for another object."""
    found = PATH.fullmatch(path)
    return found["folder"] if found else None
