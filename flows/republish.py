"""Once a week: is what is published what the artifacts say, and are its cards the newest? What differs is corrected.

A tag whose artifacts are not at hand, or whose repositories cannot be written, does not keep the others from theirs.
The report is an artifact of the flow run, where the Prefect UI shows it.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from core.recipes.table import find_recipe
from flows.crash_loop import require_no_crash_loop
from flows.notifications import announced
from flows.parameters import Tag
from tasks.republish import Republication, published_tags, republish_task
from tasks.settings import settings_from_environment

KEY = "republish"


def _run_name() -> str:
    chosen, dry_run = runtime.flow_run.parameters["tags"], runtime.flow_run.parameters["dry_run"]
    what = "all that is published" if chosen is None else ", ".join(chosen)
    return f"{what} (dry run)" if dry_run else what


@flow(name="republish", flow_run_name=_run_name, persist_result=False, validate_parameters=False)
def republish(tags: list[Tag] | None = None, dry_run: bool = False) -> State[list[dict[str, Any]]]:
    """Audit, re-render and compare the repositories of `tags` (None: of all tags that were published from this store).

    Its data: one {tag, repositories, error} for each tag. Failed when a tag could not be looked at.
    """
    with announced(tags or []) as announcement:
        require_no_crash_loop()
        chosen = published_tags(settings_from_environment().open_store()) if tags is None else tags
        ended = [_one(find_recipe(tag).tag, dry_run) for tag in chosen]
        create_markdown_artifact(report(ended, dry_run=dry_run), key=KEY, description=verdict(ended))
        has_failed = any(one.error for one in ended)
        (announcement.failed if has_failed else announcement.completed)(verdict(ended))
    ending = Failed if has_failed else Completed
    return ending(message=verdict(ended), data=[one.listing() for one in ended])


def verdict(ended: list[Republication]) -> str:
    """What came of it, in one line."""
    revisions = [revision for one in ended for revision in one.revisions]
    counts = {
        "repositories": len(revisions),
        "current": sum(revision.is_current for revision in revisions),
        "with findings": sum(bool(revision.findings) for revision in revisions),
        "corrected": sum(revision.corrected for revision in revisions),
        "tags that could not be looked at": sum(bool(one.error) for one in ended),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def report(ended: list[Republication], *, dry_run: bool) -> str:
    """The table in Markdown."""
    lines = [
        "| tag | repository | version | files | audit | changed | removed | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in ended:
        for revision in one.revisions:
            state = "current" if revision.is_current else "corrected" if revision.corrected else "differs"
            found = (f"{finding.path} {finding.problem}" for finding in revision.findings)
            named = (", ".join(paths).replace("|", "/") for paths in (found, revision.changed, revision.removed))
            cells = (one.tag, revision.repository, f"v{revision.version}", str(revision.files), *named, state)
            lines.append(f"| {' | '.join(cells)} |")
        if one.error:
            lines.append(f"| {one.tag} | | | | | | | {one.error.replace('|', '/')} |")
    return "\n".join([*lines, "", verdict(ended) + ("; a dry run: nothing was changed" if dry_run else "")]) + "\n"


def _one(tag: str, dry_run: bool) -> Republication:
    state = republish_task(tag, dry_run=dry_run, return_state=True)
    ended = state.result(raise_on_failure=False)
    if isinstance(ended, Republication):
        return ended
    if isinstance(ended, Exception):
        return Republication(tag=tag, error=" ".join(str(ended).split()))
    raise TypeError(f"a republication of {tag} ended as {ended!r}")
