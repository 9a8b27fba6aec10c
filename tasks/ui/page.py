"""A page of the Prefect UI: one artifact of a task run, known by its key, of which the UI keeps every version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from core.planning.stage import Stage
from core.planning.title import title

Form = Literal["progress", "markdown", "table"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """`data`: per cent done, Markdown, or a table's rows as JSON, by `form`; `description` is one line of Markdown."""

    form: Form
    data: float | str
    description: str


def page_key(stage: Stage, what: str) -> str:
    """`loss-pretrain-tiny-steps-0-75-3fa2c1b4`: lower case letters, digits and dashes, all that Prefect accepts."""
    words = re.findall(r"[a-z0-9]+", f"{what} {title(stage).replace(',', '')} {stage.key[:8]}".lower())
    return "-".join(words)
