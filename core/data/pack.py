"""The pack stage: documents of some shards, tokenised and packed best-fit into rows of T+1 tokens.

Streams: one row group, a few batches of token arrays and the packer's buffer are in memory, whatever the corpus weighs.
Documents are tokenised on every core while rows are packed and written; the rows do not depend on how many there are.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from core.data.best_fit import BestFitPacker, Tokens
from core.data.corpus.artifact import Corpus, Shard, read_documents
from core.data.direction import DirectionPolicy, packed_row_sets
from core.data.ordered_map import ordered_map
from core.data.packed_documents import PackedDocuments, ShardAccount
from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import PackIdentity
from core.stages.report import Reporter

ALGORITHM = "best-fit-crop"
READ_DOCUMENTS = 256  # at once
BATCH_CHARACTERS = 100_000  # tokenised at once by one thread: some 10 ms without the interpreter
ROWS_AT_ONCE = 64  # joined, checked and written at once
TURN_SECONDS = 5e-4  # see `short_turns`


@dataclass(frozen=True)
class Batch:
    """Documents that stand one after another in a shard, as text."""

    shard: Shard
    first_row: int
    texts: list[str]


@dataclass(frozen=True)
class TokenBatch:
    """The same as sequences; empty ones are left out."""

    batch: Batch
    sequences: list[Tokens]
    lengths: list[int]  # tokens of every document, 0 of an empty one


@dataclass
class DocumentReader:
    """Sequences of every document of some shards, in order, and a count of what was read."""

    folder: Path
    shards: tuple[Shard, ...]
    tokenizer: Tokenizer
    policy: DirectionPolicy
    report: Reporter
    documents: int = 0  # read and not empty
    empty: int = 0  # skipped
    characters: int = 0
    tokens: int = 0  # with those that open a document: BOS, and the direction token where there is one
    lengths: array[int] = field(default_factory=lambda: array("I"))  # tokens of every document, 0 of an empty one

    def sequences(self) -> Iterator[Tokens]:
        """Yield one array [n] a document; raise `StageError` for a document that is no string."""
        total = sum(shard.documents for shard in self.shards)
        for done in ordered_map(self._encode, self._batches(), os.cpu_count() or 1):
            self.documents += len(done.sequences)
            self.empty += len(done.lengths) - len(done.sequences)
            self.characters += sum(map(len, done.batch.texts))
            self.tokens += sum(done.lengths)
            self.lengths.extend(done.lengths)
            yield from done.sequences
            self.report.progress(self.documents + self.empty, total, "documents", done.batch.shard.file)

    def _batches(self) -> Iterator[Batch]:
        for shard in self.shards:
            row = 0
            for texts in read_documents(self.folder / shard.file, READ_DOCUMENTS):
                for batch in _of_characters(texts, BATCH_CHARACTERS):
                    yield Batch(shard, row, batch)
                    row += len(batch)

    def _encode(self, batch: Batch) -> TokenBatch:
        rows = [(row, text) for row, text in enumerate(batch.texts, start=batch.first_row) if text]
        sequences = [
            self.policy.reading(batch.shard.number, row).sequence(tokens)
            for (row, _), tokens in zip(rows, self.tokenizer.encode_arrays([text for _, text in rows]), strict=True)
        ]
        found = map(len, sequences)
        return TokenBatch(batch, sequences, [next(found) if text else 0 for text in batch.texts])


def _of_characters(texts: list[str], most: int) -> Iterator[list[str]]:
    """The texts in runs of at least `most` characters each, but for the last."""
    run: list[str] = []
    characters = 0
    for text in texts:
        run.append(text)
        characters += len(text)
        if characters >= most:
            yield run
            run, characters = [], 0
    if run:
        yield run


def produce(context: StageContext[PackIdentity]) -> Metrics:
    """Write each row set as `{name}.bin` and `{name}.json`; raise `StageError` when one row is not filled.

    There is one, `rows`, or with direction `each` two of the same documents in the same places: `forward.rows` and
    `backward.rows`. Their documents have the same lengths, so the metrics are those of either.
    """
    identity = context.identity
    if identity.algorithm != ALGORITHM:
        raise StageError(f"no packing algorithm is called {identity.algorithm!r}; known is {ALGORITHM}")
    tokenizer = Tokenizer.load(context.inputs["tokenizer"])
    policies = packed_row_sets(identity.direction, tokenizer, identity.direction_seed)
    made = [write_rows(context, name, tokenizer, policy) for name, policy in policies.items()]
    return made[-1]


def write_rows(
    context: StageContext[PackIdentity], name: str, tokenizer: Tokenizer, policy: DirectionPolicy
) -> Metrics:
    """Pack all documents of the identity's shards into the row set `name`; returns its size and statistics."""
    identity = context.identity
    corpus = Corpus.load(context.inputs["corpus"])
    reader = DocumentReader(
        folder=context.inputs["corpus"],
        shards=corpus.select(identity.first_shard, identity.end_shard),
        tokenizer=tokenizer,
        policy=policy,
        report=context.report,
    )
    packer = BestFitPacker(identity.row_tokens, identity.buffer_documents)
    with short_turns(), RowsWriter(context.output, name, identity.row_tokens, tokenizer.vocabulary_size) as writer:
        for block in packer.blocks(reader.sequences(), ROWS_AT_ONCE):
            writer.append(block)
        documents = _packed_documents(reader, packer)
        documents.save(context.output, name)
        writer.statistics.update(_statistics(reader, packer, documents.accounts(reader.shards)))
    if writer.count == 0:
        raise StageError(
            f"shards [{identity.first_shard}, {identity.end_shard}) of {corpus.source} hold {reader.tokens:,} tokens, "
            f"fewer than one row of {identity.row_tokens:,}; pack more shards or shorter rows"
        )
    return {"rows": writer.count, **writer.statistics}


@contextmanager
def short_turns() -> Iterator[None]:
    """Let a thread have the interpreter for .5 ms instead of 5 while another waits for it.

    Tokenising gives the interpreter up for each batch and wants it back some milliseconds later; behind a packer that
    keeps it for 5 ms, cores stand idle.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _packed_documents(reader: DocumentReader, packer: BestFitPacker) -> PackedDocuments:
    tokens, placed, kept = (np.array(one, np.int64) for one in (reader.lengths, packer.placed, packer.placed_tokens))
    return PackedDocuments.placed(tokens, placed, kept, packer.capacity)


def _statistics(reader: DocumentReader, packer: BestFitPacker, shards: Sequence[ShardAccount]) -> dict[str, object]:
    """Where every token went; `characters_per_token` counts the tokens of text, without those that open a document."""
    tokens = reader.tokens
    text_tokens = tokens - reader.documents * reader.policy.opening_tokens
    return {
        "documents": reader.documents,
        "empty_documents": reader.empty,
        "characters": reader.characters,
        "characters_per_token": reader.characters / text_tokens if text_tokens else 0.0,
        "tokens": tokens,
        "kept_tokens": packer.kept,
        "cropped_tokens": packer.cropped,
        "dropped_tokens": packer.dropped,
        "kept_share": packer.kept / tokens if tokens else 0.0,
        "cropped_share": packer.cropped / tokens if tokens else 0.0,
        "shards": [asdict(shard) for shard in shards],
    }
