"""The results of a suite as Markdown: every number with its interval and its sample, and what has no number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.evaluation.long_context.part import Missing
from core.evaluation.measurement import Measurement


def results_table(results: Mapping[str, Measurement], missing: Sequence[Missing]) -> str:
    """A row a measurement, then a row for everything that is missing."""
    lines = ["| measurement | value | 95 % interval | sample | unit |", "|---|---|---|---|---|"]
    lines += [_row(name, result) for name, result in results.items()]
    lines += [f"| {one.what} | missing: {one.why} | | | |" for one in missing]
    return "\n".join(lines)


def _row(name: str, result: Measurement) -> str:
    interval = "none: a single row" if result.interval is None else "{:.4f} to {:.4f}".format(*result.interval)
    sample = f"{result.sample_size:,} {result.sample_unit}"
    return f"| {name.replace('_', ' ')} | {result.value:.4f} | {interval} | {sample} | {result.unit} |"
