"""The corpora that a series can name, and the part of a recipe that each becomes.

    climbmix, climbmix@revision             a corpus of the families
    files:texts/*.jsonl#text=body           files of one's own; a relative folder is seen from the series file
    dataset:owner/name#shards=100@commit    any dataset of the Hugging Face Hub

The options after `#` are those of `core.data.corpus.source_text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from core.data.corpus import python_docs
from core.data.corpus.dataset_listing import DatasetListing
from core.data.corpus.source_text import parse_source, readable_name
from core.recipes import bidirectional, miniseries, tiny
from core.recipes.recipe import Corpus
from core.recipes.series.errors import unknown
from core.recipes.series.fields import FieldError
from core.stages.context import StageError

FILES = "files:"
DATASET = "dataset:"
REVISION = re.compile(r"[A-Za-z0-9._-]+")
SHARDS_PER_GROUP = 8  # as in the families of full size; a series may set corpus.shards_per_group

CORPORA: dict[str, Callable[[], Corpus]] = {
    python_docs.NAME: tiny.corpus,
    "climbmix": lambda: miniseries.CLIMBMIX,
    "fineweb-edu": lambda: bidirectional.FINEWEB_EDU,
}


def checked_corpus(text: str) -> str:
    """`text` if it names a corpus, whether that exists or not; raises `ValueError` that says what is allowed."""
    source, revision = _taken_apart(text)
    if text.startswith((FILES, DATASET)):
        try:
            parse_source(text, {}) if text.startswith(FILES) else DatasetListing(source)
        except StageError as error:
            raise ValueError(str(error)) from error
    elif source not in CORPORA:
        raise ValueError(unknown(source, [*CORPORA, f"{FILES}...", f"{DATASET}..."], what="corpus"))
    if revision is None and text.startswith(DATASET):
        raise ValueError(f"{source} is not pinned; write the commit behind it, as in {source}@0a1b2c3")
    if revision is not None and not REVISION.fullmatch(revision):
        raise ValueError(f"{text!r} names no revision; write source@revision, e.g. climbmix@main")
    if revision is not None and source == python_docs.NAME:
        raise ValueError(f"{source} has one revision, that of the Python that runs; write {source} alone")
    return text


def seen_from(folder: Path, text: str) -> str:
    """`text`, with the relative folder of `files:` seen from `folder`."""
    place = text.removeprefix(FILES)
    if place == text or "://" in place or place.startswith("/"):
        return text
    return f"{FILES}{folder.resolve()}/{place}"


def spelled_corpus(text: str) -> str:
    """How a tag spells a corpus."""
    source, revision = _taken_apart(text)
    name = source if source in CORPORA else readable_name(source)
    return re.sub(r"[@-]", "_", name if revision is None else f"{name}@{revision}")


def corpus_of(text: str, shards: int | None) -> Corpus:
    """The corpus, all of its training shards or the first `shards`; files are listed, not read. Raises `FieldError`."""
    source, revision = _taken_apart(text)
    try:
        corpus = _files(text) if text.startswith(FILES) else _found(source, revision)
    except StageError as error:
        raise FieldError(str(error)) from error
    if shards is None:
        return corpus
    if shards > corpus.training_shards:
        raise FieldError(f"{source} has {corpus.training_shards:,} training shards, not {shards:,}; choose fewer")
    return replace(corpus, training_shards=shards)


def _found(source: str, revision: str | None) -> Corpus:
    if source in CORPORA:
        corpus = CORPORA[source]()
        return corpus if revision is None else replace(corpus, revision=revision)
    listing = DatasetListing(source)
    assert revision is not None, source  # `checked_corpus` asked for it
    return _of_shards(source, revision, listing.validation_shard, listing.tokens_per_shard)


@cache
def _files(source: str) -> Corpus:
    """The files that match now: looked for once in a process, which goes on with what it began with."""
    from core.data.corpus.file_listing import FileListing  # here, because only files of one's own need fsspec

    listing = FileListing(source)
    return _of_shards(source, listing.revision, listing.validation_shard, listing.tokens_per_shard)


def _of_shards(source: str, revision: str, validation_shard: int, tokens_per_shard: int) -> Corpus:
    """The last shard is held out, the others train."""
    return Corpus(
        source=source,
        revision=revision,
        training_shards=validation_shard,
        validation_shard=validation_shard,
        shards_per_group=SHARDS_PER_GROUP,
        tokens_per_shard=tokens_per_shard,
    )


def _taken_apart(text: str) -> tuple[str, str | None]:
    """Source and revision, None where none is written; files have no revision but what they are."""
    if text.startswith(FILES):
        return text, None
    source, at, revision = text.rpartition("@")
    return (source, revision) if at else (text, None)
