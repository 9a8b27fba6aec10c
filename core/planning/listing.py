"""The JSON shapes that the command line prints: a contract with whoever scripts against it.

recipes -> [{tag, params_total, params_scaling, steps, batch_tokens, tokens, warmdown_start, cuts,
                 rope_drop, long, direction}]
plan    -> {stages: [{key, kind, name, tags, inputs, state, tokens, flops, gpu_hours, cost}], totals: {...}}
status  -> [{tag, stages: [{key, kind, name, state, path}]}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from core.planning.plan import Plan, PlannedStage
from core.recipes.recipe import Recipe


def recipe_listing(recipes: Iterable[Recipe]) -> list[dict[str, object]]:
    """What decides each model, in numbers."""
    return [
        {
            "tag": recipe.tag,
            "params_total": recipe.architecture.total_parameters,
            "params_scaling": recipe.architecture.scaling_parameters,
            "steps": recipe.pretraining.steps,
            "batch_tokens": recipe.pretraining.batch_tokens,
            "tokens": recipe.tokens,
            "warmdown_start": recipe.warmdown_start,
            "cuts": list(recipe.cuts),
            "rope_drop": recipe.pretraining.rope_drop,
            "rope_drop_step": recipe.drop_step,
            "long": recipe.long_finetuning is not None,
            "direction": recipe.pretraining.direction,
            "precision": recipe.pretraining.precision,
            "sequence_length": recipe.architecture.sequence_length,
            "corpus": recipe.corpus.source,
        }
        for recipe in recipes
    ]


def plan_listing(plan: Plan) -> dict[str, object]:
    """Every stage of the plan and the totals, tokens counting pretraining and recalibration."""
    total, remaining, unshared = plan.total, plan.remaining, plan.unshared
    return {
        "stages": [_planned(planned) for planned in plan.stages],
        "totals": {
            "tokens": total.tokens,
            "tokens_remaining": remaining.tokens,
            "tokens_unshared": unshared.tokens,
            "flops": total.flops,
            "gpu_hours": total.gpu_hours,
            "gpu_hours_remaining": remaining.gpu_hours,
            "gpu_hours_unshared": unshared.gpu_hours,
            "cost": total.dollars,
            "cost_remaining": remaining.dollars,
            "cost_unshared": unshared.dollars,
        },
    }


def status_listing(
    plans: Iterable[tuple[str, Plan]], path: Callable[[PlannedStage], str | None]
) -> list[dict[str, object]]:
    """What exists of each tag, and where the files of its artifacts are."""
    return [
        {
            "tag": tag,
            "stages": [
                {
                    "key": planned.stage.key,
                    "kind": planned.stage.kind.value,
                    "name": planned.stage.name,
                    "state": planned.progress.state,
                    "detail": planned.progress.detail,
                    "path": path(planned),
                }
                for planned in plan.stages
            ],
        }
        for tag, plan in plans
    ]


def _planned(planned: PlannedStage) -> dict[str, object]:
    stage, progress, cost = planned.stage, planned.progress, planned.cost
    return {
        "key": stage.key,
        "kind": stage.kind.value,
        "name": stage.name,
        "runs_on": stage.definition.resource.value,
        "tags": list(planned.tags),
        "inputs": {role: need.key for role, need in stage.inputs.items()},
        "observed": {role: need.key for role, need in stage.observed.items()},
        "state": progress.state,
        "needed": progress.needed,
        "detail": progress.detail,
        "checkpoint_step": progress.checkpoint_step,
        "tokens": cost.tokens,
        "flops": cost.flops,
        "gpu_hours": cost.gpu_hours,
        "cost": cost.dollars,
    }
