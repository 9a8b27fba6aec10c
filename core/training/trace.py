"""What a run has recorded so far: its losses, its timed metrics, and the time it took.

The loss trace is deterministic and part of the artifact's meaning: `loss.jsonl` has one line an optimizer step,
floats in shortest exact form. `metrics.jsonl` also holds what the clock and the machine decide. Only finite numbers
are recorded, JSON has no others: a step whose loss was not one has a line in `metrics.jsonl` alone, as skipped.
Both travel in every checkpoint, so that an interrupted run ends with the files of an undisturbed one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite
from pathlib import Path

LOSS, METRICS, CLOCK = "loss.jsonl", "metrics.jsonl", "clock.json"

Record = dict[str, float]


@dataclass
class Trace:
    """Losses and records of one stage, over all the processes that worked on it."""

    losses: list[Record] = field(default_factory=list)  # {"step", "loss"}
    metrics: list[Record] = field(default_factory=list)
    step_seconds: float = 0.0  # spent in optimizer steps
    wall_seconds: float = 0.0  # spent in all, measurements and checkpoints included

    def add_step(self, step: int, values: Record) -> None:
        """Record an optimizer step: `values` are its loss and all else that is to be seen of it."""
        finite = {name: value for name, value in values.items() if isfinite(value)}
        self.metrics.append({"step": step, **finite})
        if "loss" in finite:
            self.losses.append({"step": step, "loss": finite["loss"]})

    def measure(self, step: int, values: Record) -> None:
        """Record measurements of the model before `step`; measuring again replaces them."""
        record = {"step": step, **values}
        self.metrics = [other for other in self.metrics if other["step"] != step or other.keys() != record.keys()]
        self.metrics.append(record)

    def series(self, name: str) -> list[tuple[float, float]]:
        """(step, value) of every record that has `name`, in order."""
        return [(record["step"], record[name]) for record in self.metrics if name in record]

    def outline(self, points: int) -> list[Record]:
        """All measurements, and about `points` of the steps, evenly spaced; in the order they were recorded."""
        steps = [record for record in self.metrics if "rate_multiplier" in record]
        kept = {record["step"] for record in steps[:: -(-len(steps) // points) or 1]}
        return [record for record in self.metrics if "rate_multiplier" not in record or record["step"] in kept]

    @property
    def skips_in_a_row(self) -> int:
        """How many updates were refused since the last one that was taken."""
        steps = (record for record in reversed(self.metrics) if "rate_multiplier" in record)
        return sum(1 for _ in takewhile(lambda record: "skipped" in record, steps))

    def copy(self) -> Trace:
        """The same records in lists of their own."""
        return Trace(list(self.losses), list(self.metrics), self.step_seconds, self.wall_seconds)

    def write(self, folder: Path) -> None:
        """Write `loss.jsonl` and `metrics.jsonl`."""
        (folder / LOSS).write_text(_lines(self.losses))
        (folder / METRICS).write_text(_lines(self.metrics))

    def write_clock(self, folder: Path) -> None:
        """Write the seconds so far: only a checkpoint needs them."""
        (folder / CLOCK).write_text(json.dumps({"step": self.step_seconds, "wall": self.wall_seconds}))

    def read(self, folder: Path) -> None:
        """Take over what `write` and `write_clock` wrote."""
        self.losses = _records(folder / LOSS)
        self.metrics = _records(folder / METRICS)
        clock = json.loads((folder / CLOCK).read_text())
        self.step_seconds, self.wall_seconds = clock["step"], clock["wall"]


def _lines(records: list[Record]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _records(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()]
