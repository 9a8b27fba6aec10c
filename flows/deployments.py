"""prefect.yaml, generated from the recipe table: `pipeline/<tag>` for every tag, `miniseries/all` for the 20, and
`republish/weekly`, which looks after what is published.

`python -m flows.deployments > prefect.yaml`; a test fails when the committed file is not what this prints.
The tiny family runs on the pool `cpu`; everything else on `h100`, where the flow and its torchrun share the node.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.planning.cost import training_cost
from core.planning.pretraining import base_stage
from core.recipes.recipe import Recipe
from core.recipes.table import chosen_family, recipes
from core.stages.identity import TrainingIdentity

HEADER = """\
# Generated from the recipe table by `python -m flows.deployments > prefect.yaml`; edit the recipes, not this file.
name: miniseries
definitions:
  pipeline: &pipeline
    entrypoint: flows/pipeline.py:pipeline
    tags: [miniseries]
  miniseries: &miniseries
    entrypoint: flows/miniseries.py:miniseries
    tags: [miniseries]
  republish: &republish
    entrypoint: flows/republish.py:republish
    tags: [miniseries]
deployments:
"""

REPUBLISH = """\
  - <<: *republish
    name: weekly
    description: "audit what this store published, render its cards anew, and correct what differs"
    parameters: {tags: null, dry_run: false}
    work_pool: {name: cpu}
    schedules: [{cron: "0 4 * * 1", timezone: UTC, slug: weekly}]
"""


def deployment_name(recipe: Recipe) -> str:
    """`d20_40tpp` is deployed as `d20-40tpp`."""
    return recipe.tag.replace("_", "-")


def work_pool(recipe: Recipe) -> str:
    """Where a recipe's flow runs: fp32 recipes are made for CPUs."""
    return "cpu" if recipe.pretraining.precision == "fp32" else "h100"


def description(recipe: Recipe) -> str:
    """One line for the deployment's page: parameters, tokens, and the RoPE schedule."""
    identity = base_stage(recipe).identity
    assert isinstance(identity, TrainingIdentity)
    cost = training_cost(identity, 0, recipe.pretraining.steps)
    drop = recipe.pretraining.rope_drop
    rope = "RoPE throughout" if drop is None else f"RoPE dropped at {drop:.0%}"
    long = f", fine-tuned at {recipe.long_finetuning.sequence_length:,} tokens too" if recipe.long_finetuning else ""
    return (
        f"{recipe.architecture.total_parameters / 1e6:,.1f}M parameters, {cost.tokens / 1e6:,.1f}M tokens, {rope}{long}"
    )


def prefect_yaml() -> str:
    """The text of prefect.yaml."""
    tags = "".join(map(_tag_deployment, recipes().values()))
    return HEADER + tags + _family_deployment(chosen_family()) + REPUBLISH


def _tag_deployment(recipe: Recipe) -> str:
    return (
        f"  - <<: *pipeline\n"
        f"    name: {deployment_name(recipe)}\n"
        f'    description: "{description(recipe)}"\n'
        f"    parameters: {{tag: {recipe.tag}}}\n"
        f"    work_pool: {{name: {work_pool(recipe)}}}\n"
    )


def _family_deployment(tags: Sequence[str]) -> str:
    return (
        f"  - <<: *miniseries\n"
        f"    name: all\n"
        f'    description: "{len(tags)} models in one run: shared stages once, forks beside their trunk"\n'
        f"    parameters: {{tags: [{', '.join(tags)}]}}\n"
        f"    work_pool: {{name: h100}}\n"
    )


if __name__ == "__main__":
    print(prefect_yaml(), end="")
