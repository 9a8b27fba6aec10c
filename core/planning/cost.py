"""What a stage costs: tokens from the recipe, FLOPs from the architecture, GPU-hours from the speed of a device.

Pretraining and recalibration count to the token. Fine-tunes are estimated until their mixture is packed, since only
then their length is known; they are counted apart. Reading far beyond the trained length counts FLOPs and hours;
other evaluations, exports and all that runs on processors count nothing: minutes beside hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from core.planning.evaluation_cost import reading_flops, reading_hours
from core.planning.mixture_length import assumed_tokens
from core.planning.speed import ASSUMED, Shape, Speeds, pace_of
from core.planning.stage import Stage
from core.planning.stream_length import PackedRows, nothing_packed
from core.recipes.recipe import Recipe, RecipeError
from core.stages.identity import FinetuneIdentity, LongContextIdentity, MixtureIdentity, TrainingIdentity

DOLLARS_PER_GPU_HOUR = 3.0


@dataclass(frozen=True)
class Cost:
    """Tokens and what they take. GPU-hours are of one GPU: twice the GPUs, half the time, the same number."""

    tokens: int = 0  # of pretraining and recalibration
    flops: int = 0  # of training forward and backward, of reading forward; full attention
    gpu_hours: float = 0.0
    tokens_finetuning: int = 0

    @property
    def dollars(self) -> float:
        """At the usual price."""
        return self.gpu_hours * DOLLARS_PER_GPU_HOUR

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tokens + other.tokens,
            self.flops + other.flops,
            self.gpu_hours + other.gpu_hours,
            self.tokens_finetuning + other.tokens_finetuning,
        )

    def __sub__(self, other: Cost) -> Cost:
        return self + Cost(-other.tokens, -other.flops, -other.gpu_hours, -other.tokens_finetuning)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms GPUs are had: how many at once, and what one costs an hour."""

    gpus: int = 1
    dollars_per_gpu_hour: float = DOLLARS_PER_GPU_HOUR

    def __post_init__(self) -> None:
        if not (self.gpus >= 1 and 0 <= self.dollars_per_gpu_hour < inf):
            raise RecipeError(
                f"{self.gpus} GPUs at {self.dollars_per_gpu_hour} dollars an hour: give at least 1, at 0 or more"
            )

    def dollars(self, cost: Cost) -> float:
        """What `cost` comes to."""
        return cost.gpu_hours * self.dollars_per_gpu_hour

    def wall_hours(self, cost: Cost) -> float:
        """How long it takes when all GPUs share the work evenly: a lower bound, communication costs nothing in it."""
        return cost.gpu_hours / self.gpus


def written_hours(hours: float) -> str:
    """GPU-hours for people: two decimals, and one digit of what is too little to have any."""
    return f"{hours:,.2f}" if hours >= 0.1 or hours == 0 else f"{hours:.1g}"


def training_cost(identity: TrainingIdentity, first_step: int, end_step: int, speeds: Speeds = ASSUMED) -> Cost:
    """The cost of optimizer steps [first_step, end_step) of one base model."""
    tokens = (end_step - first_step) * identity.batch_tokens
    shape = Shape(architecture=identity.architecture, precision=identity.precision)
    return Cost(tokens, tokens * identity.architecture.flops_per_token, _hours(tokens, shape, speeds))


def stage_cost(
    stage: Stage, speeds: Speeds = ASSUMED, checkpoint_step: int = 0, packed: PackedRows = nothing_packed
) -> Cost:
    """The cost of making a stage, from its beginning or from a checkpoint; nothing for what takes minutes."""
    identity, shape = stage.identity, pace_of(stage)
    if isinstance(identity, TrainingIdentity):
        return training_cost(identity, max(identity.first_step, checkpoint_step), identity.end_step, speeds)
    if shape is None:
        return Cost()
    if isinstance(identity, LongContextIdentity):
        flops = reading_flops(identity, stage.inputs["model"], shape)
        return Cost(flops=flops, gpu_hours=reading_hours(flops, shape, speeds))
    assert isinstance(identity, FinetuneIdentity)
    tokens = max(0, finetuning_steps(stage, packed) - checkpoint_step) * identity.batch_tokens
    flops = tokens * shape.architecture.flops_per_token
    return Cost(flops=flops, gpu_hours=_hours(tokens, shape, speeds), tokens_finetuning=tokens)


def finetuning_steps(stage: Stage, packed: PackedRows = nothing_packed) -> int:
    """Optimizer steps that a fine-tune takes, as assumed until its mixture is packed: one pass over the mixture."""
    identity, mixture = stage.identity, stage.inputs["mixture"].identity
    assert isinstance(identity, FinetuneIdentity)
    assert isinstance(mixture, MixtureIdentity)
    rows = packed(stage.inputs["mixture"])
    if rows is not None:
        return -(-rows * identity.sequence_length // identity.batch_tokens)
    return -(-assumed_tokens(mixture.training, mixture.row_tokens) // identity.batch_tokens)


def unshared_cost(base: Stage, recipe: Recipe, speeds: Speeds = ASSUMED) -> Cost:
    """What the base model of `recipe` costs trained alone, from step 0."""
    identity = base.identity
    assert isinstance(identity, TrainingIdentity)
    return training_cost(identity, 0, recipe.pretraining.steps, speeds)


def _hours(tokens: int, shape: Shape, speeds: Speeds) -> float:
    return tokens / speeds.of(shape).tokens_per_second / 3600
