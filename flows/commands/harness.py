"""`miniseries harness`: lm-evaluation-harness on the Hugging Face export of a tag; the result is kept in the store."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from artifacts.encoding import digest
from artifacts.manifest import FORMAT, STRICT
from artifacts.store import Store
from core.evaluation.harness import HarnessError, HarnessResult, Suite, run_harness
from core.planning.catalogue import deliverable
from core.planning.stage import Stage
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.recipes.vocabulary import DIRECTION_TOKENS
from flows.console import console, listing, print_json
from tasks.settings import settings_from_environment

Phase = Literal["base", "sft"]

FOLDER = "harness"


class HarnessRecord(BaseModel):
    """What one run of the harness found."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    export: str  # address of the artifact that was asked
    limit: int | None
    result: Any
    measured: float = Field(default_factory=time.time)  # seconds since the epoch
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)


def harness(tag: str, phase: Phase | None, suite: Suite) -> None:
    """Ask, keep the result, print a table. Raises `HarnessError`, `RecipeError`, `StoreError`."""
    stage, result, path = _asked(tag, phase, suite)
    table = listing("task", "version", "shots>", "metric", "value>", "95 % interval>", "questions>")
    for one in result.metrics:
        task, measured = result.tasks[one.task], one.result
        bounds = "none" if measured.interval is None else "{:.4f} to {:.4f}".format(*measured.interval)
        shown = (f"{measured.value:.4f}", bounds, f"{measured.sample_size:,}")
        table.add_row(one.task, str(task["version"]), str(task["shots"]), one.metric, *shown)
    console().print(table)
    line = f"{stage.name} by lm-evaluation-harness {result.harness_version}, kept as {path}"
    console().print(line, markup=False, soft_wrap=True)


def harness_json(tag: str, phase: Phase | None, suite: Suite) -> None:
    """The same as JSON on standard output."""
    stage, result, path = _asked(tag, phase, suite)
    print_json({"key": stage.key, "name": stage.name, "path": path, "limit": suite.limit, **asdict(result)})


def _asked(tag: str, phase: Phase | None, suite: Suite) -> tuple[Stage, HarnessResult, str]:
    """The export, what was found, and where that is kept: one record for the same export, tasks and limit."""
    recipe = find_recipe(tag)
    store, stage = settings_from_environment().open_store(), _export(recipe, phase)
    _check(recipe, stage, store)
    with store.hold(stage.address) as folder:
        result = run_harness(folder, suite)
    asked = digest({"tasks": sorted(suite.tasks), "limit": suite.limit, "versions": _versions(result)})
    path = f"{FOLDER}/{stage.name}-{stage.key[:12]}/{asked[:12]}.json"
    record = HarnessRecord(export=stage.address.folder, limit=suite.limit, result=asdict(result))
    store.records.write(path, record)
    return stage, result, f"{store.url}/{path}"


def _export(recipe: Recipe, phase: Phase | None) -> Stage:
    tuned = recipe.finetuning or recipe.long_finetuning
    return deliverable(recipe.tag, f"hf-{phase or ('sft' if tuned else 'base')}")


def _check(recipe: Recipe, export: Stage, store: Store) -> None:
    if set(DIRECTION_TOKENS) & set(recipe.tokenizer.special_tokens):
        raise HarnessError(
            f"{recipe.tag} is told after bos which way a text is read, which the harness does not say; "
            "its numbers would be of another model"
        )
    if store.whole_manifest(export.address) is None:
        raise HarnessError(f"{export.name} has no Hugging Face export yet; `miniseries export {recipe.tag}` makes it")


def _versions(result: HarnessResult) -> dict[str, object]:
    return {task: told["version"] for task, told in result.tasks.items()}
