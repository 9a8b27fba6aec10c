"""The status of many tags as one HTML file that needs nothing else: no network, no script, light and dark, any width.

Everything that comes from a store or a recipe is escaped by the template engine; loss curves are embedded as images,
in which no script of an SVG runs.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from core.planning.appearance import APPEARANCES, appearance, detail
from core.planning.drawing import draw, stage_anchor
from core.planning.results import Curve, Evaluation, Results, measurements
from core.planning.status import Status, TagStatus
from core.planning.title import title

TEMPLATE = "status_page.html.j2"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement of one model, written out; empty where it was not measured."""

    value: str = ""
    note: str = ""


def render_status_page(status: Status, results: Results, moment: float) -> str:
    """The whole file; `moment` is when the store was looked at, in seconds since the epoch."""
    counts = dict.fromkeys(APPEARANCES, 0)
    for planned in status.plan.stages:
        counts[appearance(planned.progress)] += 1
    suites = dict.fromkeys(evaluation.suite for evaluation in results.evaluations)
    return _template().render(
        status=status,
        plan=status.plan,
        moment=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment)),
        counts={look: count for look, count in counts.items() if count},
        drawing=draw(status.plan),
        curves=[(curve, _data_url(curve)) for curve in results.curves],
        suites=[_suite(suite, results) for suite in suites],
        results_of=lambda tag: list(_highlights(tag, results)),
    )


def _suite(suite: str, results: Results) -> tuple[str, list[str], list[tuple[Evaluation, list[Cell]]]]:
    """A table of one suite: its name, its columns, and a row for each model."""
    evaluations = [evaluation for evaluation in results.evaluations if evaluation.suite == suite]
    names = measurements(evaluations)
    rows = [(evaluation, [_cell(evaluation, name) for name in names]) for evaluation in evaluations]
    return suite, [name.replace("_", " ") for name in names], rows


def _cell(evaluation: Evaluation, name: str) -> Cell:
    result = evaluation.results.get(name)
    if result is None:
        return Cell()
    interval = "" if result["interval"] is None else "–".join(f"{bound:.3f}" for bound in result["interval"])
    sample = f"{result['sample_size']:,} {result['sample_unit']}"
    return Cell(value=f"{result['value']:.4f}", note=f"{interval} of {sample}" if interval else f"on {sample}")


def _highlights(tag: TagStatus, results: Results) -> Iterator[str]:
    """The first measurement of each model of the tag."""
    keys = {planned.stage.key for planned in tag.stages}
    for evaluation in results.evaluations:
        if evaluation.planned.stage.key in keys and evaluation.results:
            name, result = next(iter(evaluation.results.items()))
            yield f"{evaluation.suite}: {result['value']:.4f} {name.replace('_', ' ')}"


def _data_url(curve: Curve) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(curve.svg).decode()}" if curve.svg else ""


def _hours(hours: float) -> str:
    """GPU-hours with as many digits as mean anything."""
    if 0 < hours < 0.01:
        return "< 0.01"
    return f"{hours:,.2f}" if hours < 10 else f"{hours:,.1f}"


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(appearance=appearance, detail=detail, title=title, anchor=stage_anchor, hours=_hours)
    return environment.from_string(files("core.planning").joinpath(TEMPLATE).read_text(encoding="utf-8"))
