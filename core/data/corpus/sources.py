"""The registry of corpora: adding one is one file and one row here.

A source is a name of the table, or `<scheme>:<place>` for places that recipes choose (`source_text` says how).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.data.corpus.files import Files
from core.data.corpus.hub_dataset import HubDataset
from core.data.corpus.hub_parquet import HubParquet
from core.data.corpus.python_docs_shards import PythonDocs
from core.data.corpus.read_record import FileRead, Revision
from core.data.corpus.watch import Watch
from core.stages.context import StageError


class Source(Protocol):
    """Numbered shards of text; number `validation_shard` is the last one, and no recipe trains on it."""

    @property
    def name(self) -> str:
        """What recipes call it."""

    @property
    def validation_shard(self) -> int:
        """The last shard."""

    @property
    def at_once(self) -> int:
        """How many shards are made at the same time, by as many threads."""

    @property
    def one_version(self) -> bool:
        """Whether all files of a corpus must have been served under one version."""

    def resolve(self, revision: str, watch: Watch) -> Revision:
        """Ask once which commit `revision` is, where it may become another one; tells `watch` when that was needed."""

    def write_shard(self, number: int, revision: Revision, target: Path, watch: Watch) -> tuple[FileRead, ...]:
        """Write shard `number` at `revision` as parquet to `target`, return which files it was made from.

        Tells `watch` what arrives: a file that becomes the shard unchanged, by the shard's name.
        Raises `StageError` when the shard cannot be had.
        """


_ALL: tuple[Source, ...] = (
    PythonDocs(),
    HubParquet(name="climbmix", repository="karpathy/climbmix-400b-shuffle", validation_shard=6542),
    HubParquet(name="fineweb-edu", repository="karpathy/fineweb-edu-100b-shuffle", validation_shard=1822),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


SCHEMES: dict[str, Callable[[str], Source]] = {"files": Files, "dataset": HubDataset}


def find_source(name: str) -> Source:
    """Return the source called `name`; raise `StageError` with the known names."""
    if name in SOURCES:
        return SOURCES[name]
    scheme, colon, _ = name.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](name)
    known = ", ".join([*SOURCES, *(f"{scheme}:..." for scheme in SCHEMES)])
    raise StageError(f"no corpus source is called {name!r}; known are {known}")
