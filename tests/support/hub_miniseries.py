"""Publishes `micro_drope_50_long` to the Hub, for everybody to see, and makes before whatever is not there; no Prefect.

`MICRO_VALIDATION_TOKENS` is how much its evaluations read; another number makes them anew, nothing else.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from micro_miniseries import make, register

from core.recipes.table import recipes
from flows.command_line import guarded

TAG = "micro_drope_50_long"


def publish() -> None:
    """Make the last stage of the tag, as its recipe is here."""
    register()
    recipe = recipes()[TAG]
    tokens = int(os.environ.get("MICRO_VALIDATION_TOKENS", recipe.evaluation.validation_tokens))
    recipes()[TAG] = replace(
        recipe,
        evaluation=replace(recipe.evaluation, validation_tokens=tokens),
        publication=replace(recipe.publication, destination="hub", visibility="public", collection="Micro series"),
    )
    make(TAG, "publish")


if __name__ == "__main__":
    sys.exit(guarded(publish))
