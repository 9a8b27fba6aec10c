"""How a model was trained and on what: steps, rates and positions of each phase, the text it read, the chat data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.lineage.lineage import Ancestor, Lineage
from core.publishing.card_architecture import rope_schedule
from core.publishing.card_markdown import dataset_link, table
from core.publishing.corpus_dataset import corpus_dataset
from core.publishing.deliverables import Deliverable
from core.stages.kind import StageKind
from core.stages.streamed import GROUP

ORIGIN = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+) \S+ at (?P<revision>[^\s,]+)")  # of a task from the Hub


def training_section(models: Mapping[str, Deliverable]) -> str:
    """One column for each model of the tag: the base, and the fine-tune that starts from it."""
    metas = [model.meta for model in models.values()]
    before = [0, *(meta["tokens_seen"] for meta in metas)]
    rows = [
        ("optimizer steps", *(f"{meta['step']:,}" for meta in metas)),
        ("tokens a step", *(f"{meta['total_batch_size']:,}" for meta in metas)),
        ("tokens", *(f"{meta['tokens_seen'] - seen:,}" for meta, seen in zip(metas, before, strict=False))),
        ("sequence length", *(f"{meta['max_seq_len']:,}" for meta in metas)),
        ("positions", *_positions(models.values())),
        ("precision", *(str(meta["user_config"]["precision"]) for meta in metas)),
        ("direction", *(str(meta.get("direction", "forward")) for meta in metas)),
        *_optimization_rows([model.lineage.training[-1:] for model in models.values()]),
    ]
    return table(("", *models), rows)


def text_section(model: Deliverable) -> str:
    """The pretraining text and the tokenizer: source, revision, which part of it, how often it was read."""
    rows = list(_text_rows(model.lineage))
    return table(("", ""), rows) if rows else "Which text it read is not recorded beside this export."


def mixture_section(lineage: Lineage) -> str:
    """The chat data of the fine-tune, task by task; empty for a base model."""
    tuned = lineage.of_phase("sft")
    mixtures = [stage for stage in lineage.of_kind(StageKind.MIXTURE) if tuned and stage.key in tuned[-1].needs]
    if not mixtures:
        return ""
    head = ("task", "from", "conversations", "times read", "supervised tokens", "cut to fit")
    rows = (
        (
            name,
            _origin(task["origin"]),
            f"{task['conversations']:,}",
            f"{task['epochs']:,}",
            f"{task['supervised_tokens']:,}",
            f"{task['truncated']:,}",
        )
        for name, task in mixtures[0].metrics.get("tasks", {}).items()
    )
    return table(head, rows)


def datasets(lineage: Lineage) -> list[str]:
    """The data sets of the Hub that the model was trained on, each once: text first."""
    sources = [corpus_dataset(stage.identity["source"]) for stage in _training_corpora(lineage)]
    origins = [
        match["repository"]
        for mixture in lineage.of_kind(StageKind.MIXTURE)
        for task in mixture.metrics.get("tasks", {}).values()
        if (match := ORIGIN.match(task["origin"]))
    ]
    return list(dict.fromkeys([*filter(None, sources), *origins]))


def read_source(lineage: Lineage) -> tuple[str, str] | None:
    """Source and revision of the pretraining text; None when they are not recorded."""
    corpora = _training_corpora(lineage)
    return (corpora[0].identity["source"], corpora[0].identity["revision"]) if corpora else None


def _positions(models: Iterable[Deliverable]) -> Iterator[str]:
    for model in models:
        if model.phase == "base":
            yield rope_schedule(model)
        else:
            yield "RoPE" if model.meta["use_rope"] else "none"


def _optimization_rows(last: Sequence[Sequence[Ancestor]]) -> list[tuple[str, ...]]:
    """Rates and their schedule by phase; none where they are not recorded."""
    if not all(last):
        return []
    identities = [stage.identity for (stage,) in last]
    found = [identity["optimization"] for identity in identities]
    return [
        ("peak rate, matrices (Muon)", *(f"{each['matrices']['peak_rate']:.4g}" for each in found)),
        ("peak rate, embedding (AdamW)", *(f"{each['embedding']['peak_rate']:.4g}" for each in found)),
        ("peak rate, lm_head (AdamW)", *(f"{each['unembedding']['peak_rate']:.4g}" for each in found)),
        ("weight decay, matrices", *(f"{each['matrices']['weight_decay']:.4g}" for each in found)),
        ("schedule", *(_schedule(each["schedule"]) for each in found)),
        ("seed", *(str(identity["seed"]) for identity in identities)),
    ]


def _schedule(schedule: Mapping[str, Any]) -> str:
    down = f"linear to {schedule['final_fraction']:.0%} in the last {schedule['warmdown_fraction']:.0%}"
    return f"{schedule['warmup_steps']:,} steps of warm-up, {down}" if schedule["warmup_steps"] else f"flat, {down}"


def _text_rows(lineage: Lineage) -> Iterator[tuple[str, str]]:
    corpora, packed = _training_corpora(lineage), _training_groups(lineage)
    if corpora:
        source, revision = corpora[0].identity["source"], corpora[0].identity["revision"]
        repository = corpus_dataset(source)
        yield "source", f"{dataset_link(repository)} (`{source}`)" if repository else f"`{source}`"
        yield "revision", f"`{revision}`"
    if packed:
        shards = sum(group.identity["end_shard"] - group.identity["first_shard"] for group in packed)
        held = sum(group.metrics.get("kept_tokens", 0) for group in packed)
        cropped = sum(group.metrics.get("cropped_tokens", 0) for group in packed)
        rows = sum(group.metrics.get("rows", 0) for group in packed)
        yield "shards", f"{shards:,}, from number {min(group.identity['first_shard'] for group in packed)} on"
        yield "packed", f"{held:,} tokens in {rows:,} rows (best fit; {cropped:,} tokens cropped)"
    for last in [stage for stage in lineage.training if "epochs" in stage.metrics][-1:]:
        yield "read", f"{last.metrics['epochs']:.2f} times"
    for tokenizer in lineage.of_kind(StageKind.TOKENIZER):
        size = f"{tokenizer.identity['vocabulary_size']:,} tokens, byte-level BPE"
        learned = tokenizer.metrics.get("characters")
        yield "tokenizer", f"{size}, learned from {learned:,} characters of that text" if learned else size


def _training_groups(lineage: Lineage) -> list[Ancestor]:
    """The shard groups that pretraining read, in order; not the held-out one."""
    keys = {
        key
        for stage in lineage.training
        for role, key in {**stage.inputs, **stage.observed}.items()
        if role.startswith(GROUP)
    }
    return [stage for stage in lineage.of_kind(StageKind.PACK) if stage.key in keys]


def _training_corpora(lineage: Lineage) -> list[Ancestor]:
    keys = {key for group in _training_groups(lineage) for key in group.inputs.values()}
    return [stage for stage in lineage.of_kind(StageKind.CORPUS) if stage.key in keys]


def _origin(origin: str) -> str:
    match = ORIGIN.match(origin)
    return f"{dataset_link(match['repository'])} at `{match['revision'][:12]}`" if match else origin
