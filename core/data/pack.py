"""The pack stage: documents of some shards, tokenised and packed best-fit into rows of T+1 tokens.

Streams: one row group, one batch of token lists and the packer's buffer are in memory, whatever the corpus weighs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.best_fit import BestFitPacker, Tokens
from core.data.corpus.artifact import Corpus, Shard, read_documents
from core.data.direction import DirectionPolicy, direction_policy
from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import PackIdentity
from core.stages.report import Reporter

ALGORITHM = "best-fit-crop"
BATCH_DOCUMENTS = 128


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
    tokens: int = 0  # BOS included

    def sequences(self) -> Iterator[Tokens]:
        """Yield one array [n] a document; raise `StageError` for a document that is no string."""
        total = sum(shard.documents for shard in self.shards)
        threads = os.cpu_count() or 1
        for shard in self.shards:
            for texts in read_documents(self.folder / shard.file, BATCH_DOCUMENTS):
                present = [text for text in texts if text]
                self.documents += len(present)
                self.empty += len(texts) - len(present)
                self.characters += sum(map(len, present))
                for tokens in self.tokenizer.encode_batch(present, threads):
                    sequence = np.array(self.policy(tokens), dtype=np.uint32)
                    self.tokens += len(sequence)
                    yield sequence
                self.report.progress(self.documents + self.empty, total, "documents", shard.file)


def produce(context: StageContext[PackIdentity]) -> Metrics:
    """Write `rows.bin` and `rows.json`; raise `StageError` when the documents do not fill one row."""
    identity = context.identity
    if identity.algorithm != ALGORITHM:
        raise StageError(f"no packing algorithm is called {identity.algorithm!r}; known is {ALGORITHM}")
    tokenizer = Tokenizer.load(context.inputs["tokenizer"])
    corpus = Corpus.load(context.inputs["corpus"])
    reader = DocumentReader(
        folder=context.inputs["corpus"],
        shards=corpus.select(identity.first_shard, identity.end_shard),
        tokenizer=tokenizer,
        policy=direction_policy(identity.direction, tokenizer),
        report=context.report,
    )
    packer = BestFitPacker(identity.row_tokens, identity.buffer_documents)
    with RowsWriter(context.output, "rows", identity.row_tokens, tokenizer.vocabulary_size) as writer:
        for row in packer.rows(reader.sequences()):
            writer.append(row)
        writer.statistics.update(_statistics(reader, packer))
    if writer.count == 0:
        raise StageError(
            f"shards [{identity.first_shard}, {identity.end_shard}) of {corpus.source} hold {reader.tokens:,} tokens, "
            f"fewer than one row of {identity.row_tokens:,}; pack more shards or shorter rows"
        )
    return {"rows": writer.count, **writer.statistics}


def _statistics(reader: DocumentReader, packer: BestFitPacker) -> dict[str, object]:
    """Where every token went; `characters_per_token` counts the tokens of text, without BOS."""
    tokens, text_tokens = reader.tokens, reader.tokens - reader.documents
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
    }
