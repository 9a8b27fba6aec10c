"""Which data set of the Hub a corpus is read from."""

from __future__ import annotations

from core.data.corpus.hub_parquet import HubParquet
from core.data.corpus.sources import SOURCES

SCHEME = "dataset:"


def corpus_dataset(source: str) -> str | None:
    """`owner/name`; None for text that is on no Hub."""
    if source.startswith(SCHEME):
        return source.removeprefix(SCHEME).partition("#")[0]
    known = SOURCES.get(source)
    return known.repository if isinstance(known, HubParquet) else None
