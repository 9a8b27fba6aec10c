"""Files that were hashed need no second hashing until they change.

A file's stamp is (size, modification time, status-change time, inode). It is remembered with the sha256 it had
if it was older than any time stamp's resolution when hashing began; a younger file could change once more
under the same stamp. Writing one byte in place changes the stamp; decay on the disk does not, which is why
`Store.verify` ignores what is remembered here.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import Damage
from artifacts.manifest import FileRecord
from artifacts.transfer import at_once, difference

RESOLUTION_SECONDS = 2.0  # the coarsest time stamps in use (FAT)

Stamps = dict[str, list[object]]  # path -> [size, mtime_ns, ctime_ns, inode, sha256]

log = logging.getLogger("miniseries.artifacts")


class VerifiedFiles:
    """The memory of one artifact's files, in one small JSON file of the cache."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory

    def check(self, artifact: str, root: Path, files: Sequence[FileRecord], *, afresh: bool) -> list[Damage]:
        """Return those of `files` below `root` that are not what their records say; `afresh` hashes them again."""
        recalled = self._recall()
        known = {} if afresh else recalled
        began = time.time()

        def problem_of(file: FileRecord) -> str:
            entry = _entry(root / file.path, file)
            unchanged = entry is not None and known.get(file.path) == entry
            return "" if unchanged else difference(file, root / file.path)

        problems = at_once(problem_of, files)
        sound = [file for file, problem in zip(files, problems, strict=True) if not problem]
        unchecked = recalled.keys() - {file.path for file in files}
        entries = {path: recalled[path] for path in unchecked} | _entries(root, sound, known, began)
        if entries != recalled:
            self._remember(entries)
        return [Damage(artifact, file.path, problem) for file, problem in zip(files, problems, strict=True) if problem]

    def _recall(self) -> Stamps:
        """What was remembered; nothing when the memory is absent or garbled, which costs one hashing."""
        try:
            values = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _remember(self, entries: Stamps) -> None:
        part = self._memory.with_name(f"{self._memory.name}.{uuid.uuid4().hex}")
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(entries), encoding="utf-8")
            part.replace(self._memory)
        except OSError as error:
            log.warning("cache %s cannot be written (%s): files are hashed again at every use", part, error.strerror)


def _entries(root: Path, sound: Sequence[FileRecord], known: Stamps, began: float) -> Stamps:
    """What to remember of files that were found right: nothing of those that could change under the same stamp."""
    entries: Stamps = {}
    for file in sound:
        entry = _entry(root / file.path, file)
        settled = entry is not None and max(_nanoseconds(entry)) / 1e9 < began - RESOLUTION_SECONDS
        if entry is not None and (settled or known.get(file.path) == entry):
            entries[file.path] = entry
    return entries


def _entry(path: Path, file: FileRecord) -> list[object] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, file.sha256]


def _nanoseconds(entry: list[object]) -> list[int]:
    return [stamp for stamp in entry[1:3] if isinstance(stamp, int)]
