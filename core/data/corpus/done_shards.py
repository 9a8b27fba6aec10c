"""Shards of an unfinished corpus stage that are done, kept with its checkpoints so that no restart makes them again.

A checkpoint holds the shards that were done since the one before it, so each is uploaded once. One is saved when 64 MB
are in none yet, `checkpoint_seconds` after the last, and when the stage fails; shards go on being made meanwhile, so a
store slower than the source is written to less often.
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
        self._step = 0  # of the newest checkpoint
        self._last = time.monotonic()

    def restore(self, numbers: Iterable[int]) -> dict[int, DoneShard]:
        """Put the shards of all checkpoints into the folder; returns them by number."""
        wanted, done = set(numbers), dict[int, DoneShard]()
        for saved in self._context.checkpoints.every():
            self._step = saved.step
            for found in RECORDS.validate_json((saved.path / RECORD).read_bytes()):
                if found.shard.number in wanted:
                    done[found.shard.number] = found
                    shutil.copyfile(saved.path / found.shard.file, self._folder / found.shard.file)
        self._saved = set(done)
        if done:
            self._context.report.log(f"{len(done)} shards are here from an earlier try")
        return done

    def save_when_worth_it(self, done: Mapping[int, DoneShard]) -> None:
        """Save what is not yet, when that is much or was long ago."""
        size = sum((self._folder / shard_file(number)).stat().st_size for number in done.keys() - self._saved)
        late = time.monotonic() - self._last >= self._context.runtime.checkpoint_seconds
        if late or size >= WORTH_SAVING:
            self.save(done)

    def save(self, done: Mapping[int, DoneShard]) -> None:
        """Save what is not yet, as one checkpoint."""
        fresh = [done[number] for number in sorted(done.keys() - self._saved)]
        if not fresh:
            return
        folder = self._context.scratch / "checkpoint"
        folder.mkdir()
        for one in fresh:
            os.link(self._folder / one.shard.file, folder / one.shard.file)
        (folder / RECORD).write_bytes(RECORDS.dump_json(tuple(fresh)))
        self._step = max(self._step + 1, len(done))  # later than any, though one may be damaged
        self._context.checkpoints.add(self._step, folder)
        shutil.rmtree(folder)
        self._saved, self._last = set(done), time.monotonic()
