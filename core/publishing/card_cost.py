"""What a model cost and on which hardware: measured by its stages, beside what a plan had estimated."""

from __future__ import annotations

from collections.abc import Sequence

from core.lineage.lineage import Ancestor, Lineage
from core.publishing.card_markdown import duration, table

PROCESSOR = "cpu"  # as torch calls it


def cost_section(lineage: Lineage) -> str:
    """A row for each stage that trained, then all together."""
    stages = [stage for stage in lineage.training if "device_seconds" in stage.metrics]
    if not stages:
        return "Not recorded beside this export."
    head = ("stage", "device", "tokens", "tokens/s", "device time, measured", "estimated")
    rows = [_row(stage) for stage in stages]
    tokens = sum(stage.metrics["tokens"] for stage in stages)
    rows.append(("**all training**", "", f"{tokens:,}", "", f"**{duration(_measured(stages))}**", _estimated(stages)))
    return f"{table(head, rows)}\n\n{_explained(stages)}"


def _row(stage: Ancestor) -> tuple[str, ...]:
    metrics, ranks = stage.metrics, stage.numerics.get("world_size", 1)
    device = f"{ranks} x {stage.device}" if ranks != 1 else stage.device
    if stage.device == PROCESSOR:
        device += f", {stage.numerics.get('threads', 1)} threads"
    speed = metrics.get("tokens_per_second")
    return (
        stage.title,
        device,
        f"{metrics['tokens']:,}",
        f"{speed:,}" if speed else "",
        duration(metrics["device_seconds"]),
        _estimated([stage]),
    )


def _measured(stages: Sequence[Ancestor]) -> float:
    return sum(float(stage.metrics["device_seconds"]) for stage in stages)


def _estimated(stages: Sequence[Ancestor]) -> str:
    known = [stage.metrics.get("estimated_device_seconds") for stage in stages]
    return (
        duration(sum(float(seconds) for seconds in known if seconds is not None)) if None not in known else "none known"
    )


def _explained(stages: Sequence[Ancestor]) -> str:
    processors = all(stage.device == PROCESSOR for stage in stages)
    gpu = [stage for stage in stages if stage.device != PROCESSOR]
    said = "Device time is wall-clock time multiplied by the number of devices, validation and checkpoints included."
    if processors:
        said += " No GPU was used."
    else:
        said += f" That is {_measured(gpu) / 3600:,.2f} GPU-hours."
    peak = max(int(stage.metrics.get("peak_memory_bytes", 0)) for stage in stages)
    return (
        f"{said} Stages that other models share are counted in full. Peak memory of one process {peak / 1e9:.1f} GB. "
        "Tokenizing, packing, evaluation and export are not counted."
    )
