"""The tables of a study: as CSV for programs, and as rows of written cells for its pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.evaluation.long_context.tables import grouped
from core.study.contrasts import Compared, Contrast, Summary
from core.study.overview import ModelRow, NeedleRow, PositionRow
from core.study.written import interval_of, number, plain_row, score_text, signed


@dataclass(frozen=True, kw_only=True)
class Table:
    """A heading, names of columns, and rows of cells; `is_open` says whether a page shows it at once."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_open: bool = True


CONTRAST_COLUMNS = (
    *("treatment", "less", "in", "at", "treatment's", "other's"),
    *("difference", "95 % interval", "sample", "verdict"),
)
SUMMARY_COLUMNS = ("mean over", "phase", "in", "at", "pairs", "difference", "95 % interval", "sample", "verdict")


def csv_files(
    models: Sequence[ModelRow], positions: Sequence[PositionRow], needles: Sequence[NeedleRow], compared: Compared
) -> Mapping[str, str]:
    """CSV by the name of its file; numbers are written in full."""
    scores = [{"model": one.name, **plain_row(score)} for one in models for score in one.scores]
    return {
        "models.csv": _csv([plain_row(one) for one in models]),
        "scores.csv": _csv(scores),
        "positions.csv": _csv([plain_row(one) for one in positions]),
        "needles.csv": _csv([plain_row(one) for one in needles]),
        "contrasts.csv": _csv([plain_row(one) for one in compared.contrasts]),
        "summaries.csv": _csv([plain_row(one) for one in compared.summaries]),
        "missing.csv": _csv([plain_row(one) for one in compared.missing]),
    }


def model_tables(models: Sequence[ModelRow]) -> list[Table]:
    """What the models are, then what each scored."""
    about = Table(
        heading="Models",
        columns=("model", "parameters", "tokens", "tokens per parameter", "RoPE", "reads", "length", "device-hours"),
        rows=tuple(_about(one) for one in models),
    )
    by_phase = grouped(models, lambda one: one.phase)
    return [about, *(_score_table(phase, those) for phase, those in by_phase.items())]


def contrast_tables(compared: Compared) -> list[Table]:
    """Means first, then every pair, a table for each question."""
    tables = []
    for family, means in grouped(compared.summaries, lambda one: one.family).items():
        rows = tuple(map(_summary_row, means))
        tables.append(Table(heading=f"{family}: means", columns=SUMMARY_COLUMNS, rows=rows))
    for family, pairs in grouped(compared.contrasts, lambda one: one.family).items():
        rows = tuple(map(_contrast_row, pairs))
        tables.append(Table(heading=f"{family}: every pair", columns=CONTRAST_COLUMNS, rows=rows, is_open=False))
    return tables


def detail_tables(positions: Sequence[PositionRow], needles: Sequence[NeedleRow]) -> list[Table]:
    """By position and by depth; empty ones are left out."""
    tables = [
        Table(
            heading="Bits per byte by position",
            columns=("model", "method", "length", "positions", "bits per byte", "95 % interval", "sample"),
            rows=tuple(_position(one) for one in positions),
            is_open=False,
        ),
        Table(
            heading="Needles found by depth",
            columns=("model", "method", "length", "depth", "guessing", "found", "95 % interval", "sample"),
            rows=tuple(_needle(one) for one in needles),
            is_open=False,
        ),
    ]
    return [table for table in tables if table.rows]


def missing_table(models: Sequence[ModelRow], compared: Compared) -> Table:
    """What has no number, and why."""
    of_models = [(one.name, what, "") for one in models for what in one.missing]
    of_pairs = [(one.family, one.what, one.why) for one in compared.missing]
    return Table(heading="Missing", columns=("of", "what", "why"), rows=(*of_models, *of_pairs))


def markdown(tables: Iterable[Table]) -> str:
    """Tables as Markdown, each under its heading."""
    parts = []
    for table in tables:
        lines = [f"| {' | '.join(table.columns)} |", "|---" * len(table.columns) + "|"]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.rows]
        parts.append(f"## {table.heading}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Empty but for nothing to write: then there are no columns either."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _about(one: ModelRow) -> tuple[str, ...]:
    hours = "missing" if one.device_hours is None else f"{one.device_hours:.3g} ({one.device or 'device unknown'})"
    return (
        one.name,
        f"{one.parameters:,}",
        f"{one.tokens:,}",
        f"{one.tokens_per_parameter:g}",
        one.rope,
        one.direction,
        f"{one.trained_length:,}",
        hours,
    )


def _score_table(phase: str, models: Sequence[ModelRow]) -> Table:
    """A row for each measurement, a column for each model: there are more measurements than models."""
    names = dict.fromkeys(score.measured for one in models for score in one.scores)
    rows = tuple((name, *(_cell(one, name) for one in models)) for name in names)
    called = phase.replace("_", " ")
    return Table(heading=f"Scores: {called}", columns=("measured", *(one.name for one in models)), rows=rows)


def _cell(one: ModelRow, name: str) -> str:
    """A score; what does not apply to a model, such as a way to extend RoPE to one without, is not missing."""
    score = one.score(name)
    if score is not None:
        return score_text(score)
    return "missing" if name in one.missing else "–"


def _contrast_row(one: Contrast) -> tuple[str, ...]:
    return (
        one.treatment,
        one.baseline,
        f"{one.quantity}, {one.unit}",
        one.condition,
        number(one.treatment_value),
        number(one.baseline_value),
        signed(one.difference),
        interval_of(one),
        f"{one.sample_size:,} {one.sample_unit}",
        one.verdict,
    )


def _summary_row(one: Summary) -> tuple[str, ...]:
    return (
        one.group,
        one.phase.replace("_", " "),
        f"{one.quantity}, {one.unit}",
        one.condition,
        str(one.contrasts),
        signed(one.difference),
        interval_of(one),
        f"{one.sample_size:,} {one.sample_unit}",
        one.verdict,
    )


def _position(one: PositionRow) -> tuple[str, ...]:
    return (
        one.model,
        one.method,
        f"{one.length:,}",
        f"{one.first:,} to {one.end:,}",
        number(one.value),
        _bounds(one.interval),
        f"{one.sample_size:,} {one.sample_unit}",
    )


def _needle(one: NeedleRow) -> tuple[str, ...]:
    return (
        one.model,
        one.method,
        f"{one.length:,}",
        f"{one.depth:.0%}",
        number(one.chance),
        number(one.value),
        _bounds(one.interval),
        f"{one.sample_size:,} {one.sample_unit}",
    )


def _bounds(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
