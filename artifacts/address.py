"""Where an artifact lives inside a store: `<kind>/<readable name>-<first 12 characters of its key>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from artifacts.errors import StoreError

KEY_PREFIX = 12
KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")
KEY = re.compile(r"[0-9a-f]{12,64}")
FOLDER = re.compile(rf"(?P<kind>{KIND.pattern})/(?P<name>{NAME.pattern})-(?P<key>[0-9a-f]{{{KEY_PREFIX}}})")


@dataclass(frozen=True)
class Address:
    """One artifact: stage kind, readable name, key (sha256 hex; at least the 12 characters that the folder shows)."""

    kind: str
    name: str
    key: str

    def __post_init__(self) -> None:
        for pattern, value, what in ((KIND, self.kind, "kind"), (NAME, self.name, "name"), (KEY, self.key, "key")):
            if not pattern.fullmatch(value):
                raise StoreError(f"{value!r} cannot be the {what} of an artifact; it must match {pattern.pattern}")

    @property
    def folder(self) -> str:
        """The artifact's folder, relative to the store."""
        return f"{self.kind}/{self.name}-{self.key[:KEY_PREFIX]}"

    def __str__(self) -> str:
        return self.folder

    @classmethod
    def parse(cls, folder: str) -> Address | None:
        """The address of an artifact folder, with its key cut to 12 characters; None if it is no such folder."""
        found = FOLDER.fullmatch(folder)
        return cls(found["kind"], found["name"], found["key"]) if found else None
