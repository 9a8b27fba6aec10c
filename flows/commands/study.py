"""`miniseries study`: what the models of many tags show when they are compared, as one report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from artifacts.store import Store
from core.export.delivery import deliver
from core.planning.catalogue import DELIVERED, EVALUATED
from core.planning.plan import plan_of
from core.planning.stage import Stage
from core.planning.study import study_stage
from core.recipes.table import find_recipe
from core.study.files import DOCUMENT, REPORT
from flows.commands.consent import Consent, estimate, require_consent
from flows.commands.publish import require_yes
from flows.commands.run import display_on, require_complete
from flows.commands.run_result import RunResult
from flows.console import console, print_json
from flows.prefect_environment import prefect_for_this_run
from flows.stopping import stop_once
from flows.webhook import webhook_from_environment
from tasks.display import shown_on
from tasks.settings import settings_from_environment


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which tags are studied, and what becomes of it."""

    tags: Sequence[str]
    to: Path | None  # None: it stays in the store
    publish: bool


def study(wanted: Wanted, consent: Consent) -> None:
    """Study and say what was found and where the report is. Raises what `run` raises."""
    out = console()
    folder, document = _study(wanted, consent, out)
    out.print()
    for sentence in document["headline"]:
        out.print(sentence, markup=False, soft_wrap=True)
    out.print(f"\nreport: {folder / REPORT}", markup=False, soft_wrap=True)


def study_json(wanted: Wanted, consent: Consent) -> None:
    """The same; progress goes to standard error, `study.json` with the path of the report to standard output."""
    folder, document = _study(wanted, consent, Console(file=sys.stderr))
    print_json({"report": str(folder / REPORT), **document})


def _study(wanted: Wanted, consent: Consent, out: Console) -> tuple[Path, dict[str, Any]]:
    stage, settings = study_stage(wanted.tags), settings_from_environment()
    store = settings.open_store()
    if wanted.publish or store.whole_manifest(stage.address) is None:
        _bring_about(stage, wanted, consent, out)
    manifest = store.manifest(stage.address)
    assert manifest is not None, stage.address  # it was there, or was made
    document: dict[str, Any] = json.loads(store.read_file(manifest, DOCUMENT))
    return _folder(stage, store, wanted), document


def _bring_about(stage: Stage, wanted: Wanted, consent: Consent, out: Console) -> None:
    """Make the study with all that it needs, telling `out` what and how far."""
    webhook_from_environment()  # one that cannot be used is found out now, and not when the run is over
    settings = settings_from_environment()
    store = settings.open_store()
    recipes = [find_recipe(tag) for tag in wanted.tags]
    for recipe in recipes if wanted.publish else ():
        require_yes(recipe, settings, consent)
    plan = plan_of([recipe.tag for recipe in recipes], store, until=DELIVERED if wanted.publish else EVALUATED)
    needed = sum(planned.progress.needed for planned in plan.stages)
    about = f"study of {', '.join(plan.tags)}: {len(plan.stages)} stages and itself, {needed} to make before it"
    out.print(f"{about}, store {store.url}", markup=False, soft_wrap=True)
    if needed:
        require_consent(plan, store, consent)
        out.print(f"to do: {estimate(plan)}", markup=False, soft_wrap=True)
    with prefect_for_this_run(), stop_once(), shown_on(display_on(out)):
        from flows.study import study as study_flow

        state = study_flow(list(plan.tags), wanted.publish, return_state=True)
        data: Any = state.result(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    require_complete(RunResult(tags=plan.tags, verdict=state.message or "", **data))


def _folder(stage: Stage, store: Store, wanted: Wanted) -> Path:
    """Where the files are on this machine."""
    if wanted.to is None:
        return store.fetch(stage.address)
    deliver(store, stage.address, wanted.to)
    return wanted.to.absolute()
