"""`miniseries export`: a model of a tag, or an adopted one, in one layout: made if need be, copied to a folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from artifacts.manifest import Manifest
from artifacts.store import Store
from core.adoption.artifact import export_of, find_adopted, require_phase
from core.export.delivery import deliver
from core.planning.catalogue import deliverable
from core.planning.pipeline import HF_FORMAT, NATIVE_FORMAT, TWIN_FORMAT
from core.planning.stage import Stage
from core.planning.title import unique_title
from core.recipes.table import canonical_tag, find_recipe, recipes
from core.stages.kind import StageKind
from flows.commands.consent import Consent
from flows.commands.run import bring_about, display_on
from flows.console import console, data_size, print_json
from flows.stopping import stop_once
from tasks.launch import Launcher
from tasks.perform import Assignment, perform
from tasks.settings import settings_from_environment

Layout = Literal["native", "hf", "twin"]
Phase = Literal["base", "sft"]

KINDS: dict[Layout, tuple[StageKind, int]] = {
    "native": (StageKind.EXPORT_NATIVE, NATIVE_FORMAT),
    "hf": (StageKind.EXPORT_HF, HF_FORMAT),
    "twin": (StageKind.EXPORT_TWIN, TWIN_FORMAT),
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be exported: `name` is a tag, or the name or key of an adopted model."""

    name: str
    layout: Layout
    phase: Phase | None  # None: the fine-tune where there is one
    to: Path | None  # None: it stays in the store


def export(wanted: Wanted, consent: Consent) -> None:
    """Export and say where it is. Raises what `run` raises, `RecipeError` for what there is not."""
    out = console()
    stage, manifest = _export(wanted, consent, out)
    size = data_size(manifest.total_bytes)
    line = f"{stage.name} ({wanted.layout}): {len(manifest.files)} files, {size}: {_place(wanted, stage)}"
    out.print(line, markup=False, soft_wrap=True)


def export_json(wanted: Wanted, consent: Consent) -> None:
    """The same; progress goes to standard error, what was exported to standard output."""
    stage, manifest = _export(wanted, consent, Console(file=sys.stderr))
    files = [file.model_dump() for file in manifest.files]
    told = {"key": stage.key, "name": stage.name, "layout": wanted.layout, "path": _place(wanted, stage)}
    print_json({**told, "files": files})


def _export(wanted: Wanted, consent: Consent, out: Console) -> tuple[Stage, Manifest]:
    store = settings_from_environment().open_store()
    if canonical_tag(wanted.name) not in recipes() and (adopted := find_adopted(store, wanted.name)) is not None:
        stage = _of_adopted(wanted, adopted, store, out)
    else:
        stage = _of_tag(wanted, consent, store, out)
    if wanted.to is not None:
        return stage, deliver(store, stage.address, wanted.to)
    manifest = store.manifest(stage.address)
    assert manifest is not None, stage.address  # it was there, or was made
    return stage, manifest


def _of_tag(wanted: Wanted, consent: Consent, store: Store, out: Console) -> Stage:
    recipe = find_recipe(wanted.name)
    phase = wanted.phase or ("sft" if recipe.finetuning or recipe.long_finetuning else "base")
    role = f"{wanted.layout}-{phase}"
    stage = deliverable(recipe.tag, role)
    if store.whole_manifest(stage.address) is None:
        bring_about([recipe.tag], consent, out, until=role)
    return stage


def _of_adopted(wanted: Wanted, adopted: Stage, store: Store, out: Console) -> Stage:
    kind, format_version = KINDS[wanted.layout]
    stage = export_of(adopted, kind, format_version)
    require_phase(adopted, wanted.phase)
    if store.whole_manifest(stage.address) is None:
        with stop_once():
            perform(
                Assignment(
                    stage=stage,
                    settings=settings_from_environment(),
                    launcher=Launcher.PROCESS,
                    title=unique_title(stage),
                    display=display_on(out),
                )
            )
    return stage


def _place(wanted: Wanted, stage: Stage) -> str:
    if wanted.to is not None:
        return str(wanted.to.absolute())
    return settings_from_environment().open_store().path_of(stage.address)
