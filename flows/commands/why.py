"""`miniseries why`: what a stage's key is made of, and where each part of it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from rich.console import Console

from core.planning.catalogue import find_stages
from core.planning.explanation import NOT_IN_KEY, Explanation, explain, explanation_listing
from core.planning.fields import written
from core.planning.stage import Stage
from core.planning.title import VERBS, title
from core.recipes.table import find_recipe
from core.stages.streamed import GROUP
from flows.console import console, listing, print_json

MOST_GROUPS = 4  # shard groups that a terminal lists


def show_why_json(tag: str, wanted: str) -> None:
    """Print a list of explanations, one for each stage found."""
    tag = find_recipe(tag).tag
    print_json([explanation_listing(tag, explain(tag, stage)) for stage in find_stages(tag, wanted)])


def show_why(tag: str, wanted: str) -> None:
    """Print the same for people."""
    tag, out = find_recipe(tag).tag, console()
    for stage in find_stages(tag, wanted):
        _show(tag, explain(tag, stage), out)


def _show(tag: str, explanation: Explanation, out: Console) -> None:
    stage = explanation.stage
    out.print(f"{title(stage)}\n  key {stage.key}", markup=False)
    out.print("  The key is a hash of all that decides what the stage makes, and of nothing else:\n")
    table = listing("  field", "value", "where it comes from")
    kind = f"{stage.kind.value}, version {stage.definition.version}"
    table.add_row("  kind", kind, "a version is raised when the meaning of a kind changes (core.stages.kind)")
    for one in explanation.fields:
        table.add_row(f"  {one.field}", written(one.value), one.origin)
    for role, need in _folded(stage.inputs):
        table.add_row(f"  input {role}", need.key[:12], f"key of `{title(need)}`")
    out.print(table)
    out.print()
    for line in _consequences(tag, explanation):
        out.print(f"  {line}", markup=False, soft_wrap=True)
    out.print()


def _folded(inputs: Mapping[str, Stage]) -> Iterator[tuple[str, Stage]]:
    """A long stream of shard groups as its first and last; `--json` has them all."""
    groups = [role for role in inputs if role.startswith(GROUP)]
    hidden = set(groups[1:-1]) if len(groups) > MOST_GROUPS else set()
    for role, need in inputs.items():
        if role not in hidden:
            yield (f"{role} (and {len(hidden)} between)" if hidden and role == groups[-1] else role), need


def _consequences(tag: str, explanation: Explanation) -> list[str]:
    """What a change would do, whom it would touch, and what can be changed freely."""
    counts = Counter(other.kind for other in explanation.made_from)
    later = ", ".join(f"{VERBS[kind]} ({count})" if count > 1 else VERBS[kind] for kind, count in counts.items())
    others = [owner for owner in explanation.shared_by if owner != tag]
    return [
        f"Change any of it, and this stage of {tag} is made again" + (f", then: {later}." if later else "."),
        f"Shared with {', '.join(others)}." if others else "No other tag shares it.",
        *(
            f"Only measured with, not made from: `{title(need)}` ({role})."
            for role, need in explanation.stage.observed.items()
        ),
        f"{NOT_IN_KEY}.",
    ]
