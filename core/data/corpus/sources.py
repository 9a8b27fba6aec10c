"""The registry of corpora: adding one is one file and one row here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from core.data.corpus.hub_parquet import HubParquet
from core.data.corpus.python_docs_shards import PythonDocs
from core.stages.context import StageError


class Source(Protocol):
    """Numbered shards of text; number `validation_shard` is the last one, and no recipe trains on it."""

    @property
    def name(self) -> str:
        """What recipes call it."""

    @property
    def validation_shard(self) -> int:
        """The last shard."""

    def write_shard(self, number: int, revision: str, target: Path, scratch: Path) -> None:
        """Write shard `number` at `revision` as parquet to `target`; raise `StageError` when it cannot be had."""


_ALL: tuple[Source, ...] = (
    PythonDocs(),
    HubParquet(name="climbmix", repository="karpathy/climbmix-400b-shuffle", validation_shard=6542),
    HubParquet(name="fineweb-edu", repository="karpathy/fineweb-edu-100b-shuffle", validation_shard=1822),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def find_source(name: str) -> Source:
    """Return the source called `name`; raise `StageError` with the known names."""
    if name not in SOURCES:
        raise StageError(f"no corpus source is called {name!r}; known are {', '.join(SOURCES)}")
    return SOURCES[name]
