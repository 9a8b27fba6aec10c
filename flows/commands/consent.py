"""What is asked before a run starts: its budget, finished work that it would leave behind, a person's yes.

A script is never asked: without a terminal a run goes on, and its log says what it will take.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from artifacts.store import Store
from core.planning.budget import require_within_budget
from core.planning.cost import Terms
from core.planning.plan import Plan
from core.planning.revision import require_accepted, superseded

ASKED_ABOVE_HOURS = 1.0  # GPU-hours that a run may take without a yes


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What the user agreed to beforehand."""

    budget_hours: float | None = None  # GPU-hours; None: no limit
    accept_retrain: bool = False
    yes: bool = False


def require_consent(plan: Plan, store: Store, consent: Consent) -> None:
    """Raise `BudgetExceeded`, `RetrainRefused`, or `typer.Abort` when a person at a terminal says no."""
    if not consent.accept_retrain:
        require_accepted(superseded([planned.stage for planned in plan.stages], store.survey(), store))
    if consent.budget_hours is not None:
        require_within_budget(plan, consent.budget_hours)
    is_asked = not consent.yes and sys.stdin.isatty() and sys.stderr.isatty()
    if is_asked and plan.remaining.gpu_hours > ASKED_ABOVE_HOURS:
        typer.confirm(f"This takes {estimate(plan)}. Start?", abort=True, err=True)


def estimate(plan: Plan) -> str:
    """What is to be done, in GPU-hours and money, and whether the speed was measured."""
    remaining = plan.remaining
    basis = "measured speed" if plan.bases <= {"measured"} else "assumed speed"
    return (
        f"about {remaining.gpu_hours:,.2f} GPU-hours of {plan.speeds.device} ({basis}), "
        f"{Terms().dollars(remaining):,.2f} dollars"
    )
