"""The status of tags as Markdown: what the Prefect UI keeps with a flow run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.planning.appearance import appearance, detail
from core.planning.status import Status, TagStatus
from core.planning.title import title


def status_markdown(status: Status, verdict: str = "") -> str:
    """A row for each tag, then a row for each stage that is not there yet; `verdict` says how a run ended."""
    tags = [_tag(tag) for tag in status.tags]
    missing = [
        (
            title(planned.stage),
            f"`{planned.stage.key[:12]}`",
            f"{appearance(planned.progress).symbol} {appearance(planned.progress).word} {detail(planned.progress)}",
            f"{planned.remaining.gpu_hours:,.2f}" if planned.basis else "",
        )
        for planned in status.plan.stages
        if planned.progress.needed
    ]
    sections = [
        _table(("tag", "stages there", "GPU-hours to do", "next"), tags),
        _table(("stage", "key", "state", "GPU-hours to do"), missing) if missing else "Every stage is there.",
        f"Store: `{status.store_url}`. `miniseries status {' '.join(status.plan.tags)} --html FILE` draws it.",
    ]
    return "\n\n".join([_cell(verdict), *sections] if verdict else sections)


def _tag(tag: TagStatus) -> tuple[str, ...]:
    following = title(tag.lacking[0].stage) if tag.lacking else "✓ complete"
    return tag.tag, f"{tag.cached} of {len(tag.stages)}", f"{tag.remaining.gpu_hours:,.2f}", following


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """On one line, with nothing that Markdown takes for a column or for HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
