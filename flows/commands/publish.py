"""`miniseries publish`: the pipeline of a tag up to its repositories; asks before anything leaves this lab."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console

from core.planning.study import publication_in
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.stages.context import StageError
from flows.commands.consent import Consent
from flows.commands.run import bring_about
from flows.console import console, print_json
from tasks.settings import RunSettings, settings_from_environment


def publish(tag: str, consent: Consent) -> None:
    """Publish and list the repositories. Raises what `run` raises, `StageError` without a yes."""
    out = console()
    for repository in _publish(tag, consent, out)["repositories"]:
        line = f"published {repository['id']}: {len(repository['files'])} files, {_place(repository['url'])}"
        out.print(line, markup=False, soft_wrap=True)


def publish_json(tag: str, consent: Consent) -> None:
    """The same; progress goes to standard error, the receipt to standard output."""
    print_json(_publish(tag, consent, Console(file=sys.stderr)))


def _publish(tag: str, consent: Consent, out: Console) -> dict[str, Any]:
    recipe, settings = find_recipe(tag), settings_from_environment()
    store = settings.open_store()
    stage = publication_in(recipe.tag, store)
    if store.whole_manifest(stage.address) is None:
        require_yes(recipe, settings, consent)
        bring_about([recipe.tag], consent, out)
    manifest = store.manifest(stage.address)
    assert manifest is not None, stage.address  # it was there, or was made
    receipt: dict[str, Any] = json.loads(store.read_file(manifest, "receipt.json"))
    return receipt


def require_yes(recipe: Recipe, settings: RunSettings, consent: Consent) -> None:
    """Raise `typer.Abort` or `StageError` unless somebody agreed to what cannot be taken back.

    A private repository in a folder can: nobody is asked for that.
    """
    wanted = recipe.publication
    if consent.yes or (wanted.destination == "folder" and wanted.visibility == "private"):
        return
    where = "the Hugging Face Hub" if wanted.destination == "hub" else settings.runtime.publication_url
    what = f"{wanted.namespace}/nanochat-{recipe.tag}-* on {where}, {wanted.visibility}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise StageError(f"{recipe.tag} would be published as {what}; say --yes to agree to that")
    typer.confirm(f"This publishes {what}. Go on?", abort=True, err=True)


def _place(url: str) -> str:
    """A folder's receipt names its repositories relative to the folder."""
    return url if "://" in url else f"{settings_from_environment().runtime.publication_url}/{url}"
