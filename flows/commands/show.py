"""`miniseries show`: one stage of a tag, from its manifest: what it is, what it was made from, what is in it."""

from __future__ import annotations

from artifacts.encoding import canonical
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.planning.title import title
from core.recipes.recipe import RecipeError
from core.recipes.table import find_recipe
from flows.console import console, listing, print_json
from tasks.settings import settings_from_environment


def find_stages(tag: str, wanted: str) -> list[Stage]:
    """The stages of `tag` whose kind is `wanted` or whose key begins with it; refuses when there are none."""
    stages = stages_of(find_recipe(tag).tag).values()
    found = [stage for stage in stages if stage.kind.value == wanted or stage.key.startswith(wanted)]
    if not found:
        kinds = ", ".join(dict.fromkeys(stage.kind.value for stage in stages))
        raise RecipeError(f"{tag} has no stage {wanted!r}; name a kind ({kinds}) or the beginning of a key")
    return found


def show_json(tag: str, wanted: str) -> None:
    """Print identity and manifest of each stage found."""
    store = settings_from_environment().open_store()
    shown = []
    for stage in find_stages(tag, wanted):
        manifest = store.manifest(stage.address)
        shown.append(
            {
                "key": stage.key,
                "kind": stage.kind.value,
                "name": stage.name,
                "identity": canonical(stage.identity),
                "inputs": {role: need.key for role, need in stage.inputs.items()},
                "path": store.path_of(stage.address) if manifest else None,
                "manifest": manifest.to_json() if manifest else None,
            }
        )
    print_json(shown)


def show(tag: str, wanted: str) -> None:
    """Print the same for people."""
    store, out = settings_from_environment().open_store(), console()
    for stage in find_stages(tag, wanted):
        out.print(f"{title(stage)}\n  key {stage.key}", markup=False)
        for role, need in stage.inputs.items():
            out.print(f"  from {role}: {need.address.folder}", markup=False)
        manifest = store.manifest(stage.address)
        if manifest is None:
            out.print("  not made yet\n")
            continue
        out.print(f"  files in {store.path_of(stage.address)}", markup=False, soft_wrap=True)
        table = listing("  file", "bytes>", "sha256")
        for file in manifest.files:
            table.add_row(f"  {file.path}", f"{file.bytes:,}", file.sha256)
        out.print(table)
        for name, value in manifest.metrics.items():
            out.print(f"  {name}: {value}", markup=False, soft_wrap=True)
        out.print()
