"""The corpus stage: shards [first, end) of a source as parquet, each read back whole before it counts."""

from __future__ import annotations

from pathlib import Path

from core.data.corpus.artifact import Corpus, Shard, read_documents, shard_file
from core.data.corpus.sources import find_source
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import CorpusIdentity

BATCH_DOCUMENTS = 1024


def produce(context: StageContext[CorpusIdentity]) -> Metrics:
    """Write every shard and `corpus.json`; raise `StageError` for a shard that cannot be had or read."""
    identity, report = context.identity, context.report
    source = find_source(identity.source)
    if not 0 <= identity.first_shard < identity.end_shard <= source.validation_shard + 1:
        raise StageError(
            f"{source.name} has shards 0 to {source.validation_shard}; "
            f"[{identity.first_shard}, {identity.end_shard}) is no range of them"
        )
    numbers = range(identity.first_shard, identity.end_shard)
    shards = []
    for done, number in enumerate(numbers):
        report.progress(done, len(numbers), "shards", shard_file(number))
        path = context.output / shard_file(number)
        source.write_shard(number, identity.revision, path, context.scratch)
        shards.append(_measure(number, path))
    report.progress(len(numbers), len(numbers), "shards")
    held_out = source.validation_shard if source.validation_shard in numbers else None
    corpus = Corpus(source=identity.source, revision=identity.revision, validation_shard=held_out, shards=tuple(shards))
    corpus.save(context.output)
    return {
        "shards": len(shards),
        "documents": sum(shard.documents for shard in shards),
        "characters": sum(shard.characters for shard in shards),
    }


def _measure(number: int, path: Path) -> Shard:
    documents = characters = 0
    for batch in read_documents(path, BATCH_DOCUMENTS):
        documents += len(batch)
        characters += sum(map(len, batch))
    return Shard(number=number, file=path.name, documents=documents, characters=characters)
