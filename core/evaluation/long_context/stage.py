"""The long_context stage: how one model reads within its trained length and at multiples of it.

Inputs `model`, `tokenizer`, and `corpus`, which holds the held-out shard. It leaves the raw lines (`positions.jsonl`,
`trials.jsonl`, `answers.jsonl`), the tables made from them with the fitted logit scale, the documents that were read
and what is missing (`long_context.json`), and the same for people (`long_context.md`). Every part that was finished
and saved before the stage was killed is not measured again.

At full size (500 trials of five kinds, d20) an H200 is busy for some GPU-hours: a trial at 8 x 4,096 tokens is 8.4e13
FLOPs, counted, not measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from core.evaluation.about import about
from core.evaluation.journal import Journal
from core.evaluation.long_context.laboratory import Laboratory
from core.evaluation.long_context.needles import KINDS
from core.evaluation.long_context.page import page
from core.evaluation.long_context.tables import Tables, make_tables
from core.evaluation.subject import Subject
from core.stages.context import Metrics, StageContext
from core.stages.identity import LongContextIdentity

JSON_FILE, PAGE = "long_context.json", "long_context.md"


def produce(context: StageContext[LongContextIdentity]) -> Metrics:
    """Measure and write the files; raise `StageError` when an input is not what it should be."""
    subject = Subject.load(context.inputs["model"], context.inputs["tokenizer"])
    laboratory = Laboratory.open(subject, context.inputs["corpus"], context.identity)
    raw = laboratory.measure(Journal(context), context.report)
    raw.write(context.output)
    tables = make_tables(raw, context.identity.measured.seed)
    document: dict[str, Any] = {
        **_about(subject, context.identity),
        "documents": laboratory.texts_listing(),
        "logit_scale": laboratory.fit_listing(),
        "tables": tables.listing(),
        "missing": [asdict(one) for one in laboratory.missing],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (context.output / JSON_FILE).write_text(text, encoding="utf-8")
    (context.output / PAGE).write_text(
        page(document, tables, [(one.what, one.why) for one in laboratory.missing]), encoding="utf-8"
    )
    return _metrics(tables)


def _about(subject: Subject, identity: LongContextIdentity) -> Mapping[str, object]:
    return {
        **about(subject.state),
        "trained_length": subject.state.sequence_length,
        "held_out_shard": identity.shard,
        "measured": asdict(identity.measured),
    }


def _metrics(tables: Tables) -> Metrics:
    """Bits per byte of each length and method, and the share of needle trials found by likelihood, over all kinds."""
    bits = {
        f"bits_per_byte/{row.method}/{row.factor}x": row.result.value for row in tables.positions if row.first is None
    }
    found: dict[str, list[tuple[float, int]]] = {}
    for row in tables.rates:
        if row.depth is None and row.by == "likelihood" and row.kind in KINDS:
            found.setdefault(f"needles/{row.method}/{row.factor}x", []).append(
                (row.result.value, row.result.sample_size)
            )
    rates = {name: sum(share * n for share, n in each) / sum(n for _, n in each) for name, each in found.items()}
    return {**bits, **rates}
