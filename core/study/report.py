"""The report of a study as one HTML file that needs nothing else: no network, no script, light and dark, any width.

Everything that comes from an evaluation is escaped by the template engine; figures are SVG that escapes its own text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from core.study.figures import Figure
from core.study.headline import answers, further, lead
from core.study.result import Study
from core.study.tables import Table
from core.study.written import interval_of, signed

TEMPLATE = "report.html.j2"


def render_report(study: Study, figures: Sequence[Figure], tables: Sequence[Table]) -> str:
    """The whole file."""
    return _template().render(
        study=study,
        further=further(study.compared),
        lead=[*lead(study.compared)],
        answers=(found := answers(study.compared)),
        lengths=list(dict.fromkeys(length for answer in found for length in answer.effects)),
        figures=figures,
        tables=tables,
        smallest=min((one.parameters for one in study.models), default=0),
        largest=max((one.parameters for one in study.models), default=0),
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(signed=signed, interval_of=interval_of)
    return environment.from_string(files("core.study").joinpath(TEMPLATE).read_text(encoding="utf-8"))
