"""A budget refuses what is still to be done, not what is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from committing import commit_all

from artifacts.store import Store
from core.planning.budget import BudgetExceeded, require_within_budget
from core.planning.catalogue import stages_of
from core.planning.plan import make_plan, plan_of
from core.stages.kind import StageKind


def test_a_plan_within_its_budget_is_let_through_and_one_above_it_is_refused_in_one_line() -> None:
    plan = make_plan(["d18_9tpp"], {}, lambda _stage: None)
    hours = plan.remaining.gpu_hours
    require_within_budget(plan, hours)
    with pytest.raises(
        BudgetExceeded, match=rf"d18_9tpp: about {hours:,.2f} GPU-hours of H100 .*budget of 4;"
    ) as caught:
        require_within_budget(plan, 4)
    assert "\n" not in str(caught.value)
    assert "assumed" in str(caught.value)


def test_finished_stages_do_not_count_against_the_budget(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    whole = plan_of(["d18_9tpp"], store).remaining.gpu_hours
    commit_all(store, [stage for stage in stages_of("d18_9tpp").values() if stage.kind is not StageKind.SFT][:40])
    left = plan_of(["d18_9tpp"], store)
    assert left.remaining.gpu_hours < whole
    require_within_budget(left, left.remaining.gpu_hours)


def test_a_refusal_of_very_little_work_does_not_say_that_nothing_is_to_do() -> None:
    plan = make_plan(["tiny"], {}, lambda _stage: None)
    with pytest.raises(BudgetExceeded, match=r"GPU-hours of H100 .*budget of 0;") as caught:
        require_within_budget(plan, 0)
    assert "about 0.00 " not in str(caught.value)
