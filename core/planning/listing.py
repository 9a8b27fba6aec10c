"""The JSON shapes that the command line prints: a contract with whoever scripts against it.

recipes -> [{tag, params_total, params_scaling, steps, batch_tokens, tokens, warmdown_start, cuts,
                 rope_drop, long, direction}]
plan    -> {stages: [{key, kind, name, tags, inputs, state, tokens, flops, gpu_hours, cost, ...}],
            totals: {tokens, tokens_unshared, gpu_hours, gpu_hours_unshared, cost, ...}, ...}
status  -> [{tag, stages: [{key, kind, name, state, path}]}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from artifacts.lease_record import Holder
from core.planning.cost import Cost, Terms
from core.planning.plan import Plan, PlannedStage
from core.planning.speed import ASSUMED_UTILIZATION
from core.planning.status import Status
from core.planning.stream_length import StreamLength
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


def plan_listing(plan: Plan, terms: Terms) -> dict[str, object]:
    """Every stage of the plan and the totals.

    `tokens` are those of pretraining and recalibration; fine-tunes are in `tokens_finetuning`, and in all hours and
    costs. `estimate` says what hours and costs rest on. Sizes are bytes; null where they are kilobytes.
    """
    parts = {
        "": plan.total,
        "_done": plan.done,
        "_remaining": plan.remaining,
        "_unshared": plan.unshared,
        "_saved": plan.saved,
    }
    totals: dict[str, object] = {}
    for suffix, cost in parts.items():
        totals |= {f"{name}{suffix}": value for name, value in _cost(cost, terms).items()}
    return {
        "tags": list(plan.tags),
        "estimate": _estimate(plan, terms),
        "stages": [_planned(planned, terms) for planned in plan.stages],
        "totals": {
            **totals,
            "wall_hours_remaining": terms.wall_hours(plan.remaining),
            "bytes_stored": sum(planned.size.bytes or 0 for planned in plan.stages if planned.size.basis == "measured"),
            "bytes_remaining": sum(
                planned.size.bytes or 0
                for planned in plan.stages
                if planned.size.basis == "assumed" and planned.progress.needed
            ),
        },
    }


def status_listing(status: Status, path: Callable[[PlannedStage], str | None]) -> list[dict[str, object]]:
    """What exists of each tag, and where the files of its artifacts are."""
    return [
        {
            "tag": tag.tag,
            "stages": [
                {
                    "key": planned.stage.key,
                    "kind": planned.stage.kind.value,
                    "name": planned.stage.name,
                    "state": planned.progress.state,
                    "damaged": planned.progress.damaged,
                    "detail": planned.progress.detail,
                    "path": path(planned),
                }
                for planned in tag.stages
            ],
        }
        for tag in status.tags
    ]


def _planned(planned: PlannedStage, terms: Terms) -> dict[str, object]:
    stage, progress = planned.stage, planned.progress
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
        "damaged": progress.damaged,
        "detail": progress.detail,
        "checkpoint_step": progress.checkpoint_step,
        "running": None if progress.holder is None else _holder(progress.holder),
        "blocked_by": None if progress.blocked_by is None else progress.blocked_by.key,
        "stream": None if planned.length is None else _length(planned.length),
        **_cost(planned.cost, terms),
        **{f"{name}_remaining": value for name, value in _cost(planned.remaining, terms).items()},
        "basis": planned.basis,
        "bytes": planned.size.bytes,
        "bytes_basis": planned.size.basis,
    }


def _length(length: StreamLength) -> dict[str, object]:
    """The shard groups that a stage needs, how many of them are packed, and how often its end has begun anew."""
    return {"groups": length.groups, "groups_packed": length.packed, "epochs": round(length.epochs, 4)}


def _cost(cost: Cost, terms: Terms) -> dict[str, int | float]:
    return {
        "tokens": cost.tokens,
        "tokens_finetuning": cost.tokens_finetuning,
        "flops": cost.flops,
        "gpu_hours": cost.gpu_hours,
        "cost": terms.dollars(cost),
    }


def _estimate(plan: Plan, terms: Terms) -> dict[str, object]:
    """`basis` is of the speeds: measured, assumed, or mixed. How long a fine-tune is, is assumed always."""
    return {
        "device": plan.speeds.device,
        "gpus": terms.gpus,
        "dollars_per_gpu_hour": terms.dollars_per_gpu_hour,
        "basis": next(iter(plan.bases)) if len(plan.bases) == 1 else "mixed" if plan.bases else None,
        "assumed_utilization": dict(ASSUMED_UTILIZATION) if "assumed" in plan.bases else None,
        "finetuning_length": "assumed",
        "other_stages": "not counted",
    }


def _holder(holder: Holder) -> dict[str, object]:
    return {
        "host": holder.host,
        "process": holder.pid,
        "doing": holder.purpose,
        "since": holder.since,
        "until": holder.until,
    }
