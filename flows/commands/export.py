"""`miniseries export`: one model of a tag in one layout, made if need be, and copied to where it is wanted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from rich.console import Console

from artifacts.manifest import Manifest
from artifacts.store import Store
from core.export.delivery import deliver
from core.planning.catalogue import deliverable
from core.planning.stage import Stage
from core.recipes.table import find_recipe
from flows.commands.consent import Consent
from flows.commands.run import bring_about
from flows.console import console, data_size, print_json
from tasks.settings import settings_from_environment

Layout = Literal["native", "hf", "twin"]
Phase = Literal["base", "sft"]


def export(tag: str, layout: Layout, phase: Phase | None, to: Path | None, consent: Consent) -> None:
    """Export and say where it is. Raises what `run` raises, `RecipeError` for what the tag does not make."""
    out = console()
    stage, manifest, place = _export(tag, layout, phase, to, consent, out)
    size = data_size(manifest.total_bytes)
    out.print(f"{stage.name} ({layout}): {len(manifest.files)} files, {size}: {place}", markup=False, soft_wrap=True)


def export_json(tag: str, layout: Layout, phase: Phase | None, to: Path | None, consent: Consent) -> None:
    """The same; progress goes to standard error, what was exported to standard output."""
    stage, manifest, place = _export(tag, layout, phase, to, consent, Console(file=sys.stderr))
    files = [file.model_dump() for file in manifest.files]
    print_json({"key": stage.key, "name": stage.name, "layout": layout, "path": place, "files": files})


def _export(
    tag: str, layout: Layout, phase: Phase | None, to: Path | None, consent: Consent, out: Console
) -> tuple[Stage, Manifest, str]:
    recipe = find_recipe(tag)
    role = f"{layout}-{phase or ('sft' if recipe.finetuning or recipe.long_finetuning else 'base')}"
    stage, store = deliverable(recipe.tag, role), settings_from_environment().open_store()
    if store.whole_manifest(stage.address) is None:
        bring_about([recipe.tag], consent, out, until=role)
    if to is not None:
        return stage, deliver(store, stage.address, to), str(to.absolute())
    return stage, _manifest(store, stage), store.path_of(stage.address)


def _manifest(store: Store, stage: Stage) -> Manifest:
    manifest = store.manifest(stage.address)
    assert manifest is not None, stage.address  # it was there, or was made
    return manifest
