"""`miniseries plan`: what would be made, what exists, what it costs, what sharing saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from core.planning.cost import Cost, Terms
from core.planning.listing import plan_listing
from core.planning.plan import Plan, PlannedStage, plan_of
from core.planning.speed import ASSUMED_UTILIZATION
from core.planning.title import title
from flows.console import console, count, data_size, decimal, listing, print_json
from tasks.settings import settings_from_environment

ESTIMATED = "~"  # before a number that is not exact


def show_plan_json(tags: Sequence[str], gpu: str | None, terms: Terms) -> None:
    """Print the contract listing."""
    print_json(plan_listing(plan_of(tags, settings_from_environment().open_store(), gpu), terms))


def show_plan(tags: Sequence[str], gpu: str | None, terms: Terms) -> None:
    """Print tables for people: the stages, the totals, and what the estimate rests on."""
    store, out = settings_from_environment().open_store(), console()
    plan = plan_of(tags, store, gpu)
    out.print(_stages(plan, terms))
    out.print()
    out.print(_totals(plan, terms))
    out.print()
    for line in _footnotes(plan, terms):
        out.print(line, markup=False, soft_wrap=True)
    out.print(f"store: {store.url}", markup=False, soft_wrap=True)


def _stages(plan: Plan, terms: Terms) -> Table:
    table = listing("stage", "needed by", "key", "state", "tokens>", "FLOPs>", "GPU-hours>", "dollars>", "size>")
    for planned in plan.stages:
        table.add_row(
            title(planned.stage),
            _owners(planned, plan),
            planned.stage.key[:12],
            state_of(planned),
            *_cost(planned, terms),
            _size(planned),
        )
    return table


def _totals(plan: Plan, terms: Terms) -> Table:
    table = listing("", "pretraining tokens>", "fine-tuning tokens>", "FLOPs>", "GPU-hours>", "dollars>")
    rows = {"to do": plan.remaining, "already done": plan.done, "all of it": plan.total}
    if plan.saved.tokens:
        share = plan.saved.tokens / plan.unshared.tokens
        rows |= {"one by one": plan.unshared, f"sharing saves {share:.1%}": plan.saved}
    for name, cost in rows.items():
        table.add_row(name, *_numbers(cost, plan, terms))
    return table


def _numbers(cost: Cost, plan: Plan, terms: Terms) -> tuple[str, ...]:
    return (
        count(cost.tokens),
        _estimated(count(cost.tokens_finetuning), cost.tokens_finetuning),
        f"{cost.flops:.2e}",
        _estimated(decimal(cost.gpu_hours), cost.gpu_hours),
        _estimated(decimal(terms.dollars(cost)), cost.gpu_hours),
    )


def _footnotes(plan: Plan, terms: Terms) -> list[str]:
    """What stands behind the numbers."""
    measured = sum(planned.basis == "measured" for planned in plan.stages)
    assumed = sum(planned.basis == "assumed" for planned in plan.stages)
    lines = [
        f"{ESTIMATED} is an estimate; a GPU-hour is one of {plan.speeds.device}, for {terms.dollars_per_gpu_hour:,.2f} "
        f"dollars; what is to do takes {terms.gpus} of them at least {decimal(terms.wall_hours(plan.remaining))} hours"
    ]
    if measured:
        lines.append(f"speed of {measured} of {measured + assumed} stages: measured by `miniseries calibrate`")
    if assumed:
        shares = ", ".join(f"{share:.1%} in {precision}" for precision, share in ASSUMED_UTILIZATION.items())
        lines.append(
            f"speed of {assumed} stages: assumed, as shares of the peak ({shares}); `miniseries calibrate` measures it"
        )
    lines.append(
        "length of fine-tunes: assumed; evaluations but of long contexts, exports and work of processors: not counted"
    )
    return [*lines, *_streams(plan)]


def _streams(plan: Plan) -> Iterator[str]:
    """What is not known yet of the shard groups, and how often the shortest corpus is read."""
    read = [(planned.length, planned.stage) for planned in plan.stages if planned.length is not None]
    if any(length.packed < length.groups for length, _ in read):
        yield "number of shard groups: by those that are packed, else assumed"
    again = [(length.epochs, stage) for length, stage in read if length.epochs > 1]
    if again:
        epochs, stage = max(again, key=lambda one: one[0])
        yield f"rows are read again: {title(stage)} ends {epochs:.1f} times through its corpus"


def state_of(planned: PlannedStage) -> str:
    """The state in words."""
    progress = planned.progress
    if progress.state != "pending":
        damaged = ", damaged" if progress.damaged else ""
        return f"{progress.state} {progress.detail}".rstrip() + damaged
    if progress.damaged:
        return progress.detail
    return "to run" if progress.needed else "not needed"


def _cost(planned: PlannedStage, terms: Terms) -> tuple[str, str, str, str]:
    cost = planned.cost
    if planned.basis is None:
        return "", "", "", ""
    tokens = count(cost.tokens) if cost.tokens else f"{ESTIMATED}{count(cost.tokens_finetuning)}"
    mark = ESTIMATED if planned.basis == "assumed" or cost.tokens_finetuning else ""
    return tokens, f"{cost.flops:.2e}", f"{mark}{decimal(cost.gpu_hours)}", f"{mark}{decimal(terms.dollars(cost))}"


def _size(planned: PlannedStage) -> str:
    size = planned.size
    if size.bytes is None:
        return ""
    return f"{ESTIMATED if size.basis == 'assumed' else ''}{data_size(size.bytes)}"


def _estimated(text: str, value: float) -> str:
    return f"{ESTIMATED}{text}" if value else text


def _owners(planned: PlannedStage, plan: Plan) -> str:
    first, *others = planned.tags
    if len(plan.tags) > 1 and len(planned.tags) == len(plan.tags):
        return "all"
    return f"{first} and {len(others)} more" if others else first
