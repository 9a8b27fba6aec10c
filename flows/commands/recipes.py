"""`miniseries recipes`: every tag and what decides it."""

from __future__ import annotations

from core.planning.listing import recipe_listing
from core.recipes.recipe import Recipe
from core.recipes.table import recipes
from flows.console import console, count, listing, print_json


def list_recipes_json() -> None:
    """Print the contract listing."""
    print_json(recipe_listing(recipes().values()))


def list_recipes() -> None:
    """Print a table for people."""
    table = listing(
        "tag", "parameters>", "scaling>", "steps>", "batch>", "tokens>", "warmdown>", "cuts", "RoPE", "long"
    )
    for recipe in recipes().values():
        table.add_row(*_row(recipe))
    console().print(table)


def _row(recipe: Recipe) -> tuple[str, ...]:
    architecture, pretraining = recipe.architecture, recipe.pretraining
    drop = "throughout" if recipe.drop_step is None else f"dropped at {recipe.drop_step:,}"
    return (
        recipe.tag,
        f"{architecture.total_parameters:,}",
        f"{architecture.scaling_parameters:,}",
        f"{pretraining.steps:,}",
        f"{pretraining.batch_tokens:,}",
        count(recipe.tokens),
        f"{recipe.warmdown_start:,}",
        " ".join(f"{cut:,}" for cut in recipe.cuts),
        drop,
        "yes" if recipe.long_finetuning else "",
    )
