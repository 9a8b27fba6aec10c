"""A limit on what a run may take, checked before it starts.

`miniseries run TAG --budget-hours H` makes the plan of the tag and asks here; nothing has been started then.
"""

from __future__ import annotations

from core.planning.cost import written_hours
from core.planning.plan import Plan
from core.recipes.recipe import RecipeError


class BudgetExceeded(RecipeError):
    """What is still to be done takes more GPU-hours than its user allows."""


def require_within_budget(plan: Plan, hours: float) -> None:
    """Raise `BudgetExceeded`, in one line, when what is to do in `plan` takes more than `hours` GPU-hours.

    GPU-hours are of one GPU, however many share the work. What is done already, up to the checkpoints, is not counted,
    so a run that was stopped can go on within what was left of its budget. Make `plan` by `core.planning.plan.plan_of`.
    """
    needed = plan.remaining.gpu_hours
    if needed <= hours:
        return
    who = ", ".join(plan.tags) if len(plan.tags) <= 3 else f"{len(plan.tags)} tags"
    basis = "by measured speed" if plan.bases == {"measured"} else "assumed, not measured"
    raise BudgetExceeded(
        f"{who}: about {written_hours(needed)} GPU-hours of {plan.speeds.device} are to do ({basis}), above the "
        f"budget of {hours:,g}; raise --budget-hours, or see `miniseries plan` for what each stage takes"
    )
