"""How a model reads within and beyond its trained length: a row a measurement and method, lengths side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.publishing.card_evaluation import written_value
from core.publishing.card_markdown import table
from core.publishing.deliverables import Deliverable

Row = Mapping[str, Any]  # of the tables in long_context.json


def long_context_section(model: Deliverable) -> str:
    """The tables over all positions and depths, or that nothing was measured."""
    document = model.long_evaluation
    if document is None:
        return (
            f"Not evaluated. Nothing was measured beyond {model.meta['max_seq_len']:,} tokens, the length that this "
            "model was last trained at, and a model without positions is no exception."
        )
    factors = sorted({row["factor"] for row in document["tables"]["positions"]})
    lengths = [f"{factor}x ({factor * document['trained_length']:,})" for factor in factors]
    parts = [
        f"Of {document['trained_length']:,} tokens, the length that it was last trained at, and multiples of it. Each "
        "number has its 95 % interval and the size of its sample.",
        table(("measurement", "method", *lengths), _rows(document["tables"], factors)),
        "By position and by depth, with how it was measured: [`long_context.md`](long_context.md); all numbers are in "
        "[`long_context.json`](long_context.json).",
    ]
    if (scale := document["logit_scale"]) is not None:
        parts.append(
            f"`logit-scale` multiplies the attention logits of the query at position m by 1 + c ln(max(1, m / T)), c = "
            f"{scale['c']:.4f} and T = {scale['T']:,}, fitted on {scale['fitted_on_texts']:,} held-out texts that are "
            "none of those above. The Hugging Face export has it switched off; "
            f"`model.config.logit_scale_coefficient = {scale['c']:.4f}` switches it on."
        )
    if missing := [f"{one['what']} ({one['why']})" for one in document["missing"]]:
        parts.append(f"**Missing: {'; '.join(missing)}.**")
    return "\n\n".join(parts)


def _rows(tables: Mapping[str, Sequence[Row]], factors: Sequence[int]) -> Iterator[tuple[str, ...]]:
    whole = [("bits per byte", row) for row in tables["positions"] if row["first"] is None]
    whole += [(f"needles: {row['kind']}, by {row['by']}", row) for row in tables["rates"] if row["depth"] is None]
    whole += [(f"LongBench: {row['task']}", row) for row in tables["scores"]]
    cells = {(name, row["method"], row["factor"]): _written(row["result"]) for name, row in whole}
    for name, method in dict.fromkeys((name, row["method"]) for name, row in whole):
        yield name, method, *(cells.get((name, method, factor), "") for factor in factors)


def _written(result: Mapping[str, Any]) -> str:
    """`25.0% (20.0% to 30.0%; 500 trials)`."""
    unit, bounds = result["unit"], result["interval"]
    interval = "" if bounds is None else f"{' to '.join(written_value(bound, unit) for bound in bounds)}; "
    return f"{written_value(result['value'], unit)} ({interval}{result['sample_size']:,} {result['sample_unit']})"
