"""What a plan costs: tokens from the recipe, FLOPs from the architecture, hours and money from stated assumptions.

Until a device has been measured, one GPU is assumed to do 455 TFLOP/s in bf16 (46 % of an H100's dense peak)
and 601 TFLOP/s in FP8, by the full-attention count: the rates of the seed series' own d18 runs.
Money assumes 3 dollars an hour. Fine-tunes count nothing: their length is known once their mixture is packed.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.planning.stage import Stage
from core.recipes.recipe import Precision, Recipe
from core.stages.identity import TrainingIdentity

ASSUMED_FLOPS_PER_SECOND: dict[Precision, float] = {"fp32": 50e12, "bf16": 455e12, "fp8": 601e12}
DOLLARS_PER_GPU_HOUR = 3.0


@dataclass(frozen=True)
class Cost:
    """Pretraining tokens and what they take."""

    tokens: int = 0
    flops: int = 0
    gpu_hours: float = 0.0

    @property
    def dollars(self) -> float:
        """At the assumed price."""
        return self.gpu_hours * DOLLARS_PER_GPU_HOUR

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.flops + other.flops, self.gpu_hours + other.gpu_hours)


def training_cost(identity: TrainingIdentity, first_step: int, end_step: int) -> Cost:
    """The cost of optimizer steps [first_step, end_step) of one model."""
    tokens = (end_step - first_step) * identity.batch_tokens
    flops = tokens * identity.architecture.flops_per_token
    return Cost(tokens, flops, flops / ASSUMED_FLOPS_PER_SECOND[identity.precision] / 3600)


def stage_cost(stage: Stage) -> Cost:
    """The cost of making a stage from its beginning; only pretraining and recalibration count."""
    identity = stage.identity
    if not isinstance(identity, TrainingIdentity):
        return Cost()
    return training_cost(identity, identity.first_step, identity.end_step)


def unshared_cost(base: Stage, recipe: Recipe) -> Cost:
    """What the base model of `recipe` costs trained alone, from step 0."""
    identity = base.identity
    assert isinstance(identity, TrainingIdentity)
    return training_cost(identity, 0, recipe.pretraining.steps)
