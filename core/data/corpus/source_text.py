"""How a source that is no name of the table is written: `<scheme>:<place>#option=value&option=value`.

    files:s3://bucket/data/*.jsonl.gz#text=body&on_bad_row=skip
    dataset:owner/name#config=default&split=train&text=content&shards=8&documents=10000

The text is part of every key, so what it says is what was read. `on_bad_row` is `fail` (default) or `skip`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from core.stages.context import StageError

SIMPLE = re.compile(r"[a-z0-9][a-z0-9-]*")

OnBadRow = Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class SourceText:
    """A source as it is written, taken apart."""

    scheme: str
    place: str
    column: str
    on_bad_row: OnBadRow
    options: Mapping[str, str]  # the scheme's own


def parse_source(text: str, own: Mapping[str, str]) -> SourceText:
    """Take `text` apart; `own` are the scheme's own options with their defaults. Raises `StageError`."""
    scheme, _, rest = text.partition(":")
    place, _, written = rest.partition("#")
    given = dict(parse_qsl(written, keep_blank_values=True))
    known = {"text": "text", "on_bad_row": "fail", **own}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise StageError(f"{text}: no option is called {unknown[0]!r}; known are {', '.join(known)}")
    if re.search(r"://[^/]*@", place):
        raise StageError(f"{scheme} source: credentials do not belong into a recipe; give them in the environment")
    values = {**known, **given}
    on_bad_row: OnBadRow
    match values.pop("on_bad_row"):
        case "fail":
            on_bad_row = "fail"
        case "skip":
            on_bad_row = "skip"
        case other:
            raise StageError(f"{text}: on_bad_row {other!r} is not allowed; write fail or skip")
    return SourceText(scheme=scheme, place=place, column=values.pop("text"), on_bad_row=on_bad_row, options=values)


def readable_name(source: str) -> str:
    """`source` as the name of an artifact can hold it: itself for a name of the table, else its scheme and a digest."""
    if SIMPLE.fullmatch(source):
        return source
    return f"{source.partition(':')[0]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
