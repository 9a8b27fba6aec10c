"""Shards of an unfinished corpus stage that are done, kept with its checkpoints so that no restart makes them again.

A checkpoint holds all shards done so far. One is saved when 64 MB are not in it yet, or `checkpoint_seconds` after the
last; shards go on being made meanwhile, so a store slower than the source is written to less often.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from core.data.corpus.artifact import Shard, shard_file
from core.data.corpus.read_record import FileRead
from core.stages.context import StageContext
from core.stages.identity import CorpusIdentity

WORTH_SAVING = 64_000_000  # bytes
RECORD = "done.json"


@dataclass(frozen=True, kw_only=True)
class DoneShard:
    """A shard that was made and read back, and what it was made from."""

    shard: Shard
    read: tuple[FileRead, ...]


RECORDS: TypeAdapter[tuple[DoneShard, ...]] = TypeAdapter(tuple[DoneShard, ...])


class DoneShards:
    """The checkpoints of one corpus stage, whose shards are made in `folder`, on the same volume as its scratch."""

    def __init__(self, context: StageContext[CorpusIdentity], folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._saved: set[int] = set()
        self._last = time.monotonic()

    def restore(self, numbers: Iterable[int]) -> dict[int, DoneShard]:
        """Put the shards of the newest checkpoint into the folder; returns them by number."""
        newest = self._context.checkpoints.newest()
        if newest is None:
            return {}
        found = {done.shard.number: done for done in RECORDS.validate_json((newest.path / RECORD).read_bytes())}
        done = {number: found[number] for number in numbers if number in found}
        for number in done:
            shutil.copyfile(newest.path / shard_file(number), self._folder / shard_file(number))
        self._saved = set(done)
        self._context.report.log(f"{len(done)} shards are here from an earlier try")
        return done

    def save(self, done: Mapping[int, DoneShard]) -> None:
        """Save when it is worth it."""
        fresh = done.keys() - self._saved
        size = sum((self._folder / shard_file(number)).stat().st_size for number in fresh)
        late = time.monotonic() - self._last >= self._context.runtime.checkpoint_seconds
        if fresh and (late or size >= WORTH_SAVING):
            self._save(done)

    def _save(self, done: Mapping[int, DoneShard]) -> None:
        folder = self._context.scratch / "checkpoint"
        folder.mkdir()
        for number in done:
            os.link(self._folder / shard_file(number), folder / shard_file(number))
        (folder / RECORD).write_bytes(RECORDS.dump_json(tuple(done[number] for number in sorted(done))))
        self._context.checkpoints.save(len(done), folder)
        shutil.rmtree(folder)
        self._saved, self._last = set(done), time.monotonic()
