"""How fast one GPU trains: measured where a calibration says so, otherwise a stated share of the device's peak.

The assumption: a GPU does .46 of its dense bf16 peak in bf16 and .608 in FP8, in FLOPs of full attention. These are
the speeds of the seed series' own d18 runs on an H100 (455 and 601 TFLOP/s of 989); .05 in float32, which no recipe of
that series uses. Whether a device has FP8 at all is found out when a stage starts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from artifacts.encoding import digest
from core.model.architecture import Architecture
from core.planning.stage import Stage
from core.recipes.recipe import Precision, RecipeError
from core.stages.identity import FinetuneIdentity, LongContextIdentity, TrainingIdentity
from core.training.accelerators import dense_bf16_peak

Basis = Literal["measured", "assumed"]

DEFAULT_DEVICE = "H100"
ASSUMED_UTILIZATION: dict[Precision, float] = {"fp32": 0.05, "bf16": 0.46, "fp8": 0.608}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What decides the speed of a training step on one device."""

    architecture: Architecture  # its sequence length is the one trained at
    precision: Precision

    @property
    def name(self) -> str:
        """`<digest of the architecture>-<precision>`: how a calibration of it is called."""
        return f"{digest(self.architecture)[:12]}-{self.precision}"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Tokens a second of one GPU, and where that is known from."""

    tokens_per_second: float
    basis: Basis


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The speed of every shape on one device; raises `RecipeError` for a device of which nothing is known."""

    device: str = DEFAULT_DEVICE
    measured: Mapping[Shape, float] = field(default_factory=dict)  # tokens a second of one GPU

    def of(self, shape: Shape) -> Speed:
        """The measured speed, else the assumed one."""
        if shape in self.measured:
            return Speed(tokens_per_second=self.measured[shape], basis="measured")
        flops = self.assumed_flops_per_second(shape.precision)
        return Speed(tokens_per_second=flops / shape.architecture.flops_per_token, basis="assumed")

    def knows(self, shape: Shape) -> bool:
        """Whether `of` has an answer."""
        return shape in self.measured or dense_bf16_peak(self.device) is not None

    def assumed_flops_per_second(self, precision: Precision) -> float:
        """What one GPU is taken to do without a calibration."""
        peak = dense_bf16_peak(self.device)
        if peak is None:
            raise RecipeError(
                f"nothing is known of the speed of {self.device}; "
                "run `miniseries calibrate TAG` on it, or name a known device, e.g. --gpu H100"
            )
        return ASSUMED_UTILIZATION[precision] * peak


ASSUMED = Speeds()


def shape_of(stage: Stage) -> Shape | None:
    """What a training stage runs at; None for a stage that trains nothing."""
    identity = stage.identity
    if isinstance(identity, TrainingIdentity):
        return Shape(architecture=identity.architecture, precision=identity.precision)
    if isinstance(identity, FinetuneIdentity):
        base = stage.inputs["base"].identity
        assert isinstance(base, TrainingIdentity)
        architecture = replace(base.architecture, sequence_length=identity.sequence_length)
        return Shape(architecture=architecture, precision=identity.precision)
    return None


def pace_of(stage: Stage) -> Shape | None:
    """The shape whose speed tells what a stage takes: its own, or that of the model that it lets read for hours."""
    return shape_of(stage.inputs["model"] if isinstance(stage.identity, LongContextIdentity) else stage)
