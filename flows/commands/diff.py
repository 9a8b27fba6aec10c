"""`miniseries diff`: two recipes, or one recipe and what the store holds of it: what changed, and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from core.planning.catalogue import stages_of
from core.planning.cost import Cost
from core.planning.difference import (
    Difference,
    Pair,
    cost_listing,
    difference,
    difference_listing,
    orphaned,
    price,
    stage_listing,
    still_to_make,
)
from core.planning.fields import ABSENT, FieldChange, written
from core.planning.revision import superseded, superseded_listing
from core.planning.stage import Stage
from core.planning.title import VERBS, title
from core.recipes.origins import origin, origins_of
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import canonical_tag, find_recipe, read_series
from flows.console import console, count, listing, print_json
from flows.retraining import show_superseded
from tasks.settings import settings_from_environment

MOST_TITLES = 4  # of one kind that a line names
GIVEN = "given"

Sides = tuple[str, Recipe, str, Recipe]  # name and recipe before, name and recipe after


def two_tags(tag: str, other: str) -> Sides:
    """From `tag` to `other`."""
    before, after = find_recipe(tag), find_recipe(other)
    return before.tag, before, after.tag, after


def against_series(tag: str, file: Path) -> Sides:
    """From `tag` as a series file says it to the same tag as it is now."""
    earlier = {cell.recipe.tag: cell.recipe for cell in read_series(file)}
    if canonical_tag(tag) not in earlier:
        raise RecipeError(f"{file} makes no tag {canonical_tag(tag)}; it makes {', '.join(list(earlier)[:6])}")
    after = find_recipe(tag)
    return f"{after.tag} of {file.name}", earlier[after.tag], f"{after.tag} now", after


def show_difference_json(sides: Sides) -> None:
    """Print the comparison, what is to be made with the store as it is, and what is orphaned."""
    survey = settings_from_environment().open_store().survey()
    first, before, second, after = sides
    waiting = still_to_make(after, survey)
    print_json(
        {
            "before": first,
            "after": second,
            **difference_listing(difference(before, after)),
            "to_make_now": {
                "stages": [stage_listing(stage) for stage in waiting],
                **cost_listing(price(waiting)),
            },
            "orphaned": [stage_listing(stage) for stage in orphaned(before, survey)],
        }
    )


def show_difference(sides: Sides) -> None:
    """Print the same for people."""
    survey, out = settings_from_environment().open_store().survey(), console()
    first, before, second, after = sides
    found = difference(before, after)
    out.print(f"{first} -> {second}\n", markup=False)
    if not found.fields:
        out.print("The recipes are the same, and so are their keys.")
        return
    _show_fields(found, after, out)
    _show_stages(found, first, second, out)
    waiting = still_to_make(after, survey)
    out.print(f"With {first} finished, {second} costs {_cost(price(found.to_make))}.", markup=False, soft_wrap=True)
    out.print(f"With what the store holds now, {_count(waiting)} to be made: {_cost(price(waiting))}.", soft_wrap=True)
    left = orphaned(before, survey)
    if left:
        out.print(f"Orphaned: {_count(left)} in the store that no known tag reaches any more:")
        for stage in left:
            out.print(f"  {stage.address.folder}", markup=False, soft_wrap=True)


def show_revision_json(tag: str) -> None:
    """Print what the store holds of earlier revisions of `tag`."""
    store = settings_from_environment().open_store()
    found = superseded(stages_of(tag).values(), store.survey(), store)
    hours = sum(one.gpu_hours for one in found)
    print_json({"tag": find_recipe(tag).tag, "superseded": superseded_listing(found), "gpu_hours": hours})


def show_revision(tag: str) -> None:
    """Print the same for people."""
    store, out = settings_from_environment().open_store(), console()
    found = superseded(stages_of(tag).values(), store.survey(), store)
    if not found:
        out.print(f"{find_recipe(tag).tag}: nothing that is to be made was finished by an earlier revision of it.")
    show_superseded(found, out)


def _show_fields(found: Difference, after: Recipe, out: Console) -> None:
    origins = origins_of(after.tag)
    table = listing("recipe field", "before", "after", "where the latter comes from")
    for change in _folded(found.fields):
        sides = [GIVEN if side is ABSENT else written(side) for side in (change.before, change.after)]
        table.add_row(change.field, *sides, origin(origins, change.field))
    out.print(table)
    out.print()


def _folded(fields: Sequence[FieldChange]) -> list[FieldChange]:
    """A part that is none on one side is one row, `given` on the other, not a row for each field of it."""
    parts = {change.field for change in fields if None in (change.before, change.after)}
    return [change for change in fields if not any(change.field.startswith(f"{part}.") for part in parts)]


def _show_stages(found: Difference, first: str, second: str, out: Console) -> None:
    if found.changed:
        table = listing("stage", "key before", "key after", "why")
        for pair in found.changed:
            table.add_row(title(pair.after), pair.before.key[:12], pair.after.key[:12], _why(pair))
        out.print(table)
        out.print()
    for name, stages in ((first, found.removed), (second, found.added)):
        if stages:
            out.print(f"Only in {name}: {_titles(stages)}.", markup=False, soft_wrap=True)
    out.print(f"Shared, with the same key on both sides: {_count(found.shared)}.")


def _why(pair: Pair) -> str:
    own = [str(change) for change in pair.changes]
    if own:
        return "; ".join(own[:2]) + (f"; and {len(own) - 2} more" if len(own) > 2 else "")
    inputs = pair.changed_inputs
    return f"made from another {', '.join(inputs[:2])}" + (" and more" if len(inputs) > 2 else "")


def _titles(stages: Sequence[Stage]) -> str:
    """Each stage by its title, those of a numerous kind by their number."""
    counts = Counter(stage.kind for stage in stages)
    named = (
        title(stage) if counts[stage.kind] <= MOST_TITLES else f"{VERBS[stage.kind]} ({counts[stage.kind]})"
        for stage in stages
    )
    return ", ".join(dict.fromkeys(named))


def _count(stages: Sequence[Stage]) -> str:
    return f"{len(stages)} stage{'' if len(stages) == 1 else 's'}"


def _cost(cost: Cost) -> str:
    return f"{count(cost.tokens)} tokens, about {cost.gpu_hours:,.2f} GPU-hours ({cost.dollars:,.2f} dollars)"
