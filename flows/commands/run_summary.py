"""What came of a run, for people: a row for every stage, then what is worth reading once it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from artifacts.store import Store
from core.planning.actual import comparison
from core.planning.catalogue import stages_of_run
from core.planning.cost import stage_cost
from core.planning.stage import Stage
from core.planning.title import title
from core.stages.kind import StageKind
from flows.commands.run_result import Reference, RunResult
from flows.console import count, listing
from tasks.settings import settings_from_environment


def summarize(result: RunResult, out: Console) -> None:
    """Print the table of all stages, the numbers of each recalibration, where the models are, and a sample."""
    stages = stages_of_run(result.tags, result.stages.keys() | result.failed.keys())
    out.print()
    out.print(_table(stages, result))
    out.print()
    store = settings_from_environment().open_store()
    made = [stage for stage in stages if stage.key in result.stages]
    if compared := comparison(result.stages[stage.key]["metrics"] for stage in made if _is_new(result, stage)):
        out.print(f"training {compared}", markup=False, soft_wrap=True)
    for line in (*_recalibrations(made, result), *_places(made, result.tags, store), *_sample(made, store)):
        out.print(line, markup=False, soft_wrap=True)


def _table(stages: Sequence[Stage], result: RunResult) -> Table:
    table = listing("stage", "key", "state", "time>", "tokens>", "result")
    titles = {stage.key: title(stage) for stage in stages}
    for stage in stages:
        if (reference := result.stages.get(stage.key)) is not None:
            cells = _cells(stage, reference)
        elif stage.key in result.failed:
            cells = ("failed", "", "", result.failed[stage.key])
        elif stage.key in result.blocked:
            cells = ("not started", "", "", f"needs {titles[result.blocked[stage.key]]}")
        else:
            continue  # collected as garbage, and not needed
        table.add_row(titles[stage.key], stage.key[:12], *cells)
    return table


def _is_new(result: RunResult, stage: Stage) -> bool:
    return bool(result.stages[stage.key]["state"] == "made")


def _cells(stage: Stage, reference: Reference) -> tuple[str, str, str, str]:
    tokens = stage_cost(stage).tokens
    return reference["state"], f"{reference['seconds']:.1f} s", count(tokens) if tokens else "", reference["summary"]


def _recalibrations(made: Sequence[Stage], result: RunResult) -> Iterator[str]:
    for stage in made:
        if stage.kind is StageKind.RECALIBRATE:
            metrics = result.stages[stage.key]["metrics"]
            yield (
                f"{stage.name}: validation bits per byte at the RoPE drop: {metrics['drop_bpb_with_rope']:.4f} with "
                f"RoPE, {metrics['drop_bpb_without_rope']:.4f} without, {metrics['validation_bpb']:.4f} after "
                "recalibration"
            )


def _places(made: Sequence[Stage], tags: Sequence[str], store: Store) -> Iterator[str]:
    """Where each model of one tag is; of many tags, only where they are published."""
    if len(tags) == 1:
        for stage in made:
            if stage.kind is StageKind.EXPORT_HF:
                yield f"model ({stage.name}): {store.path_of(stage.address)}"
    if published := [stage.name for stage in made if stage.kind is StageKind.PUBLISH]:
        yield f"published ({', '.join(published)}): {settings_from_environment().runtime.publication_url}"


def _sample(made: Sequence[Stage], store: Store) -> list[str]:
    """The first text that a base model wrote."""
    for stage in made:
        if stage.kind is StageKind.EVALUATE and stage.name.endswith("-base"):
            evaluation = json.loads((store.fetch(stage.address) / "evaluation.json").read_text(encoding="utf-8"))
            for sample in evaluation["samples"][:1]:
                if sample["way"] == "backward":
                    before = f"{sample['answer']}{sample['prompt']}"
                    return ["", f"the base model says what precedes {sample['prompt']!r}:", before]
                return ["", f"the base model continues {sample['prompt']!r}:", f"{sample['prompt']}{sample['answer']}"]
    return []
