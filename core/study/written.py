"""How the numbers of a study are written, the same in its report, its tables and its cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from core.study.contrasts import Contrast, Summary
from core.study.overview import Score

PHASES = {"base": "base models", "sft": "fine-tuned models", "long_sft": "models fine-tuned at twice the length"}


def number(value: float) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """Four decimals with their sign; what rounds to nothing has none."""
    text = f"{value:+.4f}"
    return "0.0000" if text in ("+0.0000", "-0.0000") else text


def interval_of(one: Contrast | Summary) -> str:
    """`+0.0100 to +0.0300`; empty where there is none."""
    return "" if one.interval is None else " to ".join(map(signed, one.interval))


def score_text(score: Score) -> str:
    """`1.8321 (1.8000 to 1.8700; 32,000 bytes)`."""
    bounds = "" if score.interval is None else f"{number(score.interval[0])} to {number(score.interval[1])}; "
    return f"{number(score.value)} ({bounds}{score.sample_size:,} {score.sample_unit})"


def short_name(name: str) -> str:
    """A model without its phase: `tiny_drope_50` of `tiny_drope_50-base`."""
    for phase in ("-base", "-long-sft", "-sft"):
        if name.endswith(phase):
            return name.removesuffix(phase)
    return name


def plain_row(record: Any) -> Mapping[str, object]:
    """The fields of a record as cells: an interval is two of them, and what is not there is empty."""
    found: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "interval":
            found["low"], found["high"] = value if value is not None else ("", "")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            continue  # listed in a table of its own
        else:
            found[field.name] = "" if value is None else value
    return found
