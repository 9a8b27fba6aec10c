"""`miniseries verify`: read every committed byte again and say which artifacts are damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from artifacts.store import Store
from core.planning.catalogue import resolved_stages
from core.planning.stage import as_planned
from core.planning.stream_length import measured_by, packed_in
from core.recipes.table import find_recipe
from flows.console import console, print_json
from tasks.settings import settings_from_environment


def verify(tags: Sequence[str]) -> int:
    """Verify the artifacts of `tags` (none: the whole store); return how many are damaged."""
    store = settings_from_environment().open_store()
    damaged = checked = 0
    for folder, damages in _verified(store, tags):
        checked += 1
        damaged += bool(damages)
        for damage in damages:
            console().print(f"damaged: {folder}: {damage}", markup=False, soft_wrap=True)
    repair = "; the next `miniseries run` of a tag that needs them makes them again" if damaged else ""
    console().print(f"{checked} artifacts verified, {damaged} damaged{repair}")
    return damaged


def verify_json(tags: Sequence[str]) -> int:
    """The same as a JSON list of {artifact, damages}."""
    store = settings_from_environment().open_store()
    found = [{"artifact": folder, "damages": damages} for folder, damages in _verified(store, tags)]
    print_json(found)
    return sum(bool(entry["damages"]) for entry in found)


def _verified(store: Store, tags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each artifact's folder and damages; by folder, because an unreadable manifest does not tell its whole key."""
    resolve = measured_by(packed_in(store.survey())) if tags else as_planned
    recipes = [find_recipe(tag) for tag in tags]
    folders = {stage.address.folder for recipe in recipes for stage in resolved_stages(recipe.tag, resolve).values()}
    for address in store.addresses():
        if not tags or address.folder in folders:
            yield address.folder, [str(damage) for damage in store.verify(address)]
