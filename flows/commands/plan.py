"""`miniseries plan` and `miniseries status`: what would be made, what exists, what it costs, what sharing saves."""

from __future__ import annotations

from collections.abc import Sequence

from artifacts.errors import ArtifactDamaged
from artifacts.store import Store
from core.planning.listing import plan_listing, status_listing
from core.planning.plan import Plan, PlannedStage, make_plan
from core.planning.stage import Stage
from core.planning.title import title
from core.recipes.table import find_recipe
from flows.console import console, count, listing, print_json
from tasks.settings import settings_from_environment


def plan_of(tags: Sequence[str], store: Store) -> Plan:
    """The merged plan of `tags` against one listing of `store`."""

    def holder(stage: Stage) -> str | None:
        return store.holder_of(stage.address)

    return make_plan(tags, store.survey(), holder)


def show_plan_json(tags: Sequence[str]) -> None:
    """Print the contract listing."""
    print_json(plan_listing(plan_of(tags, settings_from_environment().open_store())))


def show_plan(tags: Sequence[str]) -> None:
    """Print a table for people."""
    store = settings_from_environment().open_store()
    plan = plan_of(tags, store)
    table = listing("stage", "key", "state", "tokens>", "GPU-hours>", "needed by")
    for planned in plan.stages:
        table.add_row(title(planned.stage), planned.stage.key[:12], _state(planned), *_cost(planned), _owners(planned))
    console().print(table)
    total, remaining, unshared = plan.total, plan.remaining, plan.unshared
    console().print(
        f"\nto do: {count(remaining.tokens)} of {count(total.tokens)} training tokens, "
        f"about {remaining.gpu_hours:,.2f} GPU-hours ({remaining.dollars:,.2f} dollars; assumed, not measured here)"
    )
    if saved := unshared.tokens - total.tokens:
        console().print(f"sharing trunks saves {count(saved)} tokens ({saved / unshared.tokens:.1%})")
    console().print(f"store: {store.url}")


def show_status_json(tags: Sequence[str]) -> None:
    """Print the contract listing."""
    store = settings_from_environment().open_store()
    print_json(status_listing(_plans(tags, store), lambda planned: _path(planned, store)))


def show_status(tags: Sequence[str]) -> None:
    """Print a table for people."""
    store = settings_from_environment().open_store()
    table = listing("tag", "stages>", "cached>", "next")
    for tag, plan in _plans(tags, store):
        waiting = [planned for planned in plan.stages if planned.progress.needed]
        cached = sum(planned.progress.state == "cached" for planned in plan.stages)
        following = f"{title(waiting[0].stage)} ({_state(waiting[0])})" if waiting else "complete"
        table.add_row(tag, str(len(plan.stages)), str(cached), following)
    console().print(table)
    console().print(f"\nstore: {store.url}")


def _plans(tags: Sequence[str], store: Store) -> list[tuple[str, Plan]]:
    survey = store.survey()
    names = [find_recipe(tag).tag for tag in tags]
    return [(tag, make_plan([tag], survey, lambda stage: store.holder_of(stage.address))) for tag in names]


def _path(planned: PlannedStage, store: Store) -> str | None:
    """None for what is not there, and for what turns out to be unreadable: a listing goes on to the next."""
    try:
        return store.path_of(planned.stage.address) if planned.progress.state == "cached" else None
    except ArtifactDamaged:
        return None


def _state(planned: PlannedStage) -> str:
    progress = planned.progress
    state = "not needed" if progress.state == "pending" and not progress.needed else progress.state
    return f"{state} {progress.detail}".rstrip()


def _cost(planned: PlannedStage) -> tuple[str, str]:
    cost = planned.cost
    return (count(cost.tokens), f"{cost.gpu_hours:,.2f}") if cost.tokens else ("", "")


def _owners(planned: PlannedStage) -> str:
    first, *others = planned.tags
    return f"{first} and {len(others)} more" if others else first
