"""Corpora that lie ready on the Hugging Face Hub as `shard_%05d.parquet`: fetched file by file, kept unchanged.

A mirror is tried first; what comes from it is verified against the Hub's size and sha256 all the same, as long as the
Hub answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.corpus.artifact import shard_file
from core.data.corpus.fsspec_file import FsspecFile, NotThereError
from core.data.corpus.hub_file import HubFile
from core.data.corpus.mirror import VARIABLE, mirrored
from core.data.corpus.read_record import FileRead, Revision
from core.data.corpus.transfer import Announced, TransferBroken, fetch, sha256_of, with_patience
from core.data.corpus.watch import Watch
from core.stages.context import StageUnavailable

COMMIT = re.compile(r"[0-9a-f]{40}")
MIRROR_TRIES = 2  # without a new byte: the Hub is there to fall back to


@dataclass(frozen=True, kw_only=True)
class HubParquet:
    """A dataset repository of numbered parquet shards with a string column `text`."""

    name: str
    repository: str
    validation_shard: int
    at_once: int = 4  # downloads at the same time
    one_version: bool = True  # all shards come from one commit

    def resolve(self, revision: str, watch: Watch) -> Revision:
        """The commit that a branch or tag is now, so that all shards come from one; a mirror may serve without."""
        if COMMIT.fullmatch(revision):
            return Revision(asked=revision, commit=revision)
        file = self._file(self.validation_shard, revision)
        known = _announced_by_the_hub(file, watch) if mirrored(file) else with_patience(file.announced, watch)
        commit = known.version if known else None
        read = f"commit {commit}" if commit else "what the mirror has"
        watch.note(f"{self.repository}: revision {revision!r} is not pinned; what is read is {read}")
        return Revision(asked=revision, commit=commit)

    def write_shard(self, number: int, revision: Revision, target: Path, watch: Watch) -> tuple[FileRead, ...]:
        """Download shard `number` to `target`; raise `StageError` with what to do."""
        file = self._file(number, revision.read)
        copy = mirrored(self._file(number, revision.asked))
        announced = (_from_mirror(file, copy, target, watch) if copy else None) or fetch(file, target, watch)
        digest = announced.sha256 or sha256_of(target)
        return (FileRead(file=file.name, bytes=target.stat().st_size, sha256=digest, version=announced.version),)

    def _file(self, number: int, revision: str) -> HubFile:
        return HubFile(
            repository=self.repository,
            revision=revision,
            name=shard_file(number),
            missing=f"its last shard is {self.validation_shard}",
        )


def _from_mirror(file: HubFile, copy: FsspecFile, target: Path, watch: Watch) -> Announced | None:
    """Fetch the mirror's copy; None, with one line for people, when it has none that is whole."""
    known = _announced_by_the_hub(file, watch)
    try:
        found = fetch(copy, target, watch, announced=known, tries=MIRROR_TRIES)
    except (NotThereError, StageUnavailable) as error:
        watch.note(f"{VARIABLE}: {error}; {file.name} is fetched from the Hub")
        return None
    return known or replace(found, version=None)  # what versions a mirror's files have, says no commit


def _announced_by_the_hub(file: HubFile, watch: Watch) -> Announced | None:
    """What the Hub says of the file; None, with one line for people, when it does not answer."""
    try:
        return file.announced()
    except (TransferBroken, StageUnavailable):
        watch.note(f"{file.name}: the Hub does not answer, so the mirror's copy is checked for its size only")
        return None
