"""The tables of one model for people: Markdown, every number with its 95 % interval and the size of its sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.evaluation.long_context.tables import PositionRow, RateRow, ScoreRow, Tables, grouped
from core.evaluation.measurement import Measurement


def page(about: Mapping[str, Any], tables: Tables, missing: Sequence[tuple[str, str]]) -> str:
    """The page; `missing` is what has no number, each with its reason."""
    lengths = f"trained on {about['trained_length']:,} tokens, {'with' if about['use_rope'] else 'without'} RoPE"
    sections = [
        f"# Long context: the {about['phase']} model, {lengths}",
        _fit(about["logit_scale"]),
        *_positions(tables.positions, about["documents"]),
        *_rates(tables.rates),
        *_scores(tables.scores),
        _missing(missing),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _fit(scale: object) -> str:
    if not isinstance(scale, Mapping):
        return ""
    fitted = f"fitted on {scale['fitted_on_texts']} texts, {scale['fitted_on_bytes']:,} bytes beyond the trained length"
    return f"Logit scale: {scale['formula']}; T = {scale['T']:,}, c = {scale['c']:.4f}, {fitted}."


def _positions(rows: Sequence[PositionRow], read: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    texts = {one["factor"]: one["texts"] for one in read}
    for factor, of_length in grouped(rows, lambda row: row.factor).items():
        methods = list(dict.fromkeys(row.method for row in of_length))
        joined = sum(text["concatenated"] for text in texts[factor])
        yield f"## Bits per byte at {factor}x, by position"
        yield f"{joined} of {len(texts[factor])} texts are several held-out documents, one after another."
        lines = [_header(["positions", "texts", *methods])]
        for (first, end), those in grouped(of_length, lambda row: (row.first, row.end)).items():
            where = "all" if first is None else f"{first:,} to {end:,}"
            by_method = {row.method: written(row.result) for row in those}
            lines.append(_row([where, str(those[0].texts), *(by_method.get(method, "") for method in methods)]))
        yield "\n".join(lines)


def _rates(rows: Sequence[RateRow]) -> Iterable[str]:
    for by, those in grouped((row for row in rows if row.depth is None), lambda row: row.by).items():
        yield f"## Needles found, by {by}"
        methods = list(dict.fromkeys(row.method for row in those))
        lines = [_header(["kind", "length", "guessing", *methods])]
        for (kind, factor), same in grouped(those, lambda row: (row.kind, row.factor)).items():
            by_method = {row.method: written(row.result) for row in same}
            shares = (by_method.get(method, "") for method in methods)
            lines.append(_row([kind, f"{factor}x", f"{same[0].chance:.3g}", *shares]))
        yield "\n".join(lines)


def _scores(rows: Sequence[ScoreRow]) -> Iterable[str]:
    if rows:
        lines = [_header(["LongBench task", "length", "method", "F1"])]
        yield "\n".join(
            [*lines, *(_row([row.task, f"{row.factor}x", row.method, written(row.result)]) for row in rows)]
        )


def _missing(missing: Sequence[tuple[str, str]]) -> str:
    if not missing:
        return ""
    lines = [_header(["missing", "why"]), *(_row([what, why]) for what, why in missing)]
    return "## Missing\n\n" + "\n".join(lines)


def written(result: Measurement) -> str:
    """`1.234 (1.2 to 1.3; n = 5)`."""
    interval = "" if result.interval is None else "{:.3f} to {:.3f}; ".format(*result.interval)
    return f"{result.value:.3f} ({interval}n = {result.sample_size:,} {result.sample_unit})"


def _header(names: Sequence[str]) -> str:
    return f"{_row(names)}\n{_row(['---'] * len(names))}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
