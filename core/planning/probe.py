"""What a calibration measures: a few training steps of one shape, described for a process that has torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from artifacts.encoding import canonical
from core.model.architecture import Architecture
from core.planning.speed import Shape, shape_of
from core.planning.stage import Stage
from core.recipes.optimization import Optimization
from core.recipes.recipe import Precision
from core.stages.identity import FinetuneIdentity, TrainingIdentity
from core.stages.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Training steps to be timed, as a stage of this shape would take them on one GPU."""

    architecture: Architecture  # its sequence length is the one trained at
    precision: Precision
    optimization: Optimization
    batch_tokens: int
    steps: int  # that count, after those that compile and warm up
    runtime: Runtime

    @property
    def shape(self) -> Shape:
        """What is measured."""
        return Shape(architecture=self.architecture, precision=self.precision)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(canonical(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Probe:
        """Read what `write` wrote."""
        return TypeAdapter(cls).validate_json(path.read_bytes())


def probes_of(stages: Iterable[Stage], steps: int, runtime: Runtime) -> list[Probe]:
    """One probe for each distinct shape that `stages` train at, with the batch of the first stage that does."""
    found: dict[Shape, Probe] = {}
    for stage in stages:
        identity, shape = stage.identity, shape_of(stage)
        if shape is None or shape in found:
            continue
        assert isinstance(identity, (TrainingIdentity, FinetuneIdentity))
        found[shape] = Probe(
            architecture=shape.architecture,
            precision=shape.precision,
            optimization=identity.optimization,
            batch_tokens=identity.batch_tokens,
            steps=steps,
            runtime=runtime,
        )
    return list(found.values())
