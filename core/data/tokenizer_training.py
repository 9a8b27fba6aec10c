"""The tokenizer stage: a byte-pair vocabulary counted on training documents, special tokens on top, and how it fares.

rustbpe is deterministic whatever its threads and batches. It counts chunks of the split pattern, so memory follows
the number of distinct chunks and one batch of documents, not the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import rustbpe

from core.data.corpus.artifact import Corpus, read_documents
from core.data.tokenizer import Tokenizer
from core.data.tokenizer_evaluation import evaluate, save, vocabularies
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import TokenizerIdentity
from core.stages.report import Reporter

BYTES = 256
BATCH_DOCUMENTS = 1024


def produce(context: StageContext[TokenizerIdentity]) -> Metrics:
    """Write the tokenizer; raise `StageError` when the vocabulary is too small for bytes or too large for the text."""
    identity = context.identity
    smallest = BYTES + len(identity.special_tokens)
    if identity.vocabulary_size < smallest:
        raise StageError(
            f"a vocabulary of {identity.vocabulary_size:,} cannot hold {BYTES} bytes and "
            f"{len(identity.special_tokens)} special tokens; use at least {smallest:,}"
        )
    documents = TrainingText(context.inputs["corpus"], identity, context.report)
    mergeable = identity.vocabulary_size - len(identity.special_tokens)
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(documents), mergeable, buffer_size=BATCH_DOCUMENTS, pattern=identity.pattern)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    if len(ranks) != mergeable:
        raise StageError(
            f"{documents.characters:,} characters of training text give {len(ranks) - BYTES:,} merges of the "
            f"{mergeable - BYTES:,} that a vocabulary of {identity.vocabulary_size:,} needs; "
            "use more shards or a smaller vocabulary"
        )
    tokenizer = Tokenizer(identity.pattern, identity.special_tokens, ranks)
    tokenizer.save(context.output)
    return {
        "vocabulary_size": tokenizer.vocabulary_size,
        "documents": documents.documents,
        "characters": documents.characters,
        "longest_token_bytes": int(tokenizer.token_bytes.max()),
        **_evaluate(context, tokenizer),
    }


def _evaluate(context: StageContext[TokenizerIdentity], tokenizer: Tokenizer) -> Metrics:
    """Bytes per token of each text, of this vocabulary and of the references; also in the log and `evaluation.json`."""
    evaluation = evaluate(tokenizer)
    save(evaluation, context.output)
    for compression in evaluation:
        context.report.log(str(compression))
    others = {name: {one.text: round(one.references[name], 3) for one in evaluation} for name in vocabularies()}
    own = {one.text: round(one.bytes_per_token, 3) for one in evaluation}
    return {"bytes_per_token": own, **{f"bytes_per_token_{name}": values for name, values in others.items()}}


class TrainingText:
    """Documents of the training shards by shard number, each capped, `max_characters` in all."""

    def __init__(self, folder: Path, identity: TokenizerIdentity, report: Reporter) -> None:
        self._folder, self._identity, self._report = folder, identity, report
        self._shards = Corpus.load(folder).training_shards
        self.documents = 0  # read so far
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        limit, cap = self._identity.max_characters, self._identity.document_cap
        total = min(limit, sum(shard.characters for shard in self._shards))
        for shard in self._shards:
            for batch in read_documents(self._folder / shard.file, BATCH_DOCUMENTS):
                for text in batch:
                    if self.characters >= limit:
                        return
                    excerpt = text[: min(cap, limit - self.characters)]
                    self.documents += 1
                    self.characters += len(excerpt)
                    yield excerpt
                self._report.progress(self.characters, total, "characters", shard.file)
