"""The JSON of `miniseries data`: groups of packed shards with their files, what was read of each, and the fine-tunes.

{tag, base, steps, steps_trained, batch_tokens, tokens, tokens_trained, epochs, exact,
 groups: [{group, key, state, rows, rows_seen, rows_at_end, corpus, read,
           files: [{file, bytes, sha256, documents, ..., seen, at_end}]}], finetunes: [...]}
Tokens seen are target tokens: those of all files sum to steps times batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from artifacts.manifest import FileRecord
from core.data.ledger import FileReading
from core.planning.ledger import FinetuneSeen, GroupSeen, Ledger, StreamGroup
from core.stages.identity import CorpusIdentity

State = Literal["packed", "planned", "gone"]


def ledger_listing(ledger: Ledger) -> dict[str, object]:
    """Everything that the ledger knows."""
    recipe = ledger.recipe
    batch = recipe.pretraining.batch_tokens
    return {
        "tag": recipe.tag,
        "base": recipe.base_tag,
        "steps": recipe.pretraining.steps,
        "steps_trained": ledger.steps_trained,
        "batch_tokens": batch,
        "tokens": recipe.tokens,
        "tokens_trained": ledger.steps_trained * batch,
        "sequence_length": recipe.architecture.sequence_length,
        "epochs": ledger.epochs,
        "exact": ledger.is_exact,
        "groups": [_group(number, seen) for number, seen in enumerate(ledger.groups)],
        "finetunes": [_finetune(seen) for seen in ledger.finetunes],
    }


def state_of(seen: GroupSeen) -> State:
    """`gone`: it was read, and its artifact is not in the store any more."""
    if seen.group.pack:
        return "packed"
    return "gone" if seen.rows_so_far else "planned"


def shard_record(group: StreamGroup, file: str) -> FileRecord | None:
    """The shard's file in the corpus artifact; None when that is not in the store."""
    files = group.corpus.files if group.corpus else ()
    return next((record for record in files if record.path == file), None)


def _group(number: int, seen: GroupSeen) -> dict[str, object]:
    group = seen.group
    corpus = group.stage.inputs["corpus"]
    assert isinstance(corpus.identity, CorpusIdentity)
    first, end = group.shards
    return {
        "group": number,
        "key": group.stage.key,
        "state": state_of(seen),
        "first_shard": first,
        "end_shard": end,
        "rows": group.rows,
        "rows_seen": seen.rows_so_far,
        "rows_at_end": seen.rows_at_end,
        "corpus": {"key": corpus.key, "source": corpus.identity.source, "revision": corpus.identity.revision},
        "files": [_file(group, now, then) for now, then in zip(seen.so_far, seen.at_end, strict=True)],
        "read": group.corpus.metrics.get("read") if group.corpus else None,
    }


def _file(group: StreamGroup, now: FileReading, then: FileReading) -> dict[str, object]:
    account, record = now.account, shard_record(group, now.account.file)
    return {
        "file": account.file,
        "bytes": record.bytes if record else None,
        "sha256": record.sha256 if record else None,
        "documents": account.documents,
        "packed_documents": account.packed_documents,
        "tokens": account.tokens,
        "kept_tokens": account.kept_tokens,
        "cropped_tokens": account.cropped_tokens,
        "dropped_tokens": account.dropped_tokens,
        "seen": _reading(now),
        "at_end": _reading(then),
    }


def _reading(reading: FileReading) -> dict[str, object]:
    return {"tokens": reading.target_tokens, "documents": reading.documents, "times": reading.times}


def _finetune(seen: FinetuneSeen) -> dict[str, object]:
    return {
        "kind": seen.stage.kind.value,
        "key": seen.stage.key,
        "trained": seen.is_trained,
        "mixture": seen.stage.inputs["mixture"].key,
        "tasks": [{"task": name, **_counts(counts)} for name, counts in seen.tasks.items()],
    }


def _counts(counts: Mapping[str, Any]) -> dict[str, object]:
    """Of all epochs together, as the mixture's manifest has them; `examples` is how many different ones there are."""
    return {"examples": counts["conversations"] // counts["epochs"], **counts}
