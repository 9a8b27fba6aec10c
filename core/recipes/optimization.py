"""Optimizer and schedule constants of a recipe, resolved to numbers: what training reads is what the key hashed.

The family's scaling rules live here as formulas with their source; the trainer never derives a rate itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, sqrt
from typing import Literal

from core.model.architecture import Architecture, swiglu_width

REFERENCE_BATCH_TOKENS = 524_288  # the batch at which the base rates were tuned
REFERENCE_WIDTH = 768  # d12, the model on which they were tuned
REFERENCE_SCALING_PARAMETERS = 12 * (4 * 768 * 768 + 3 * 768 * swiglu_width(768)) + 32_768 * 768  # S12 = 110,100,480


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon on every transformer matrix; the peak rate is final, nothing multiplies it but the schedule."""

    peak_rate: float
    orthogonalization: Literal["polar-express", "newton-schulz"]  # 5 iterations either way
    second_moment_beta: float | None  # NorMuon's factored second moment; None is plain Muon
    momentum_start: float
    momentum_peak: float
    momentum_final: float  # reached linearly over the warmdown; equal to the peak: never lowered
    momentum_warmup_steps: int
    weight_decay: float  # peak; scheduled by cosine over the horizon, applied cautiously


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """AdamW on one embedding table; weight decay is decoupled and follows the learning rate."""

    peak_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Multiplier of every peak rate over the horizon N: linear warmup, plateau, linear warmdown of W = round(f N)."""

    warmup_steps: int
    warmdown_fraction: float  # f
    final_fraction: float  # multiplier that the warmdown ends on


@dataclass(frozen=True, kw_only=True)
class SpikePolicy:
    """What becomes of an update whose loss or gradient norm is not finite, or whose norm exceeds a limit.

    `stop` ends the run before the update, keeping the last good state; `skip` leaves parameters and optimizer as they
    are and goes on with the next step's rows. The seed series has no such rule; stopping changes no number of it.
    """

    action: Literal["stop", "skip"] = "stop"
    gradient_norm: float | None = None  # L2 norm of all gradients above which an update is a spike; None: no limit


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """All of it: one group for the matrices, one for each of the two embedding tables, one schedule."""

    matrices: Muon
    embedding: AdamW  # wte
    unembedding: AdamW  # lm_head
    schedule: Schedule
    gradient_clip: float | None  # global L2 norm; None leaves gradients as they are
    spike_policy: SpikePolicy = SpikePolicy()


def family_batch_tokens(architecture: Architecture) -> int:
    """B = 2^round(log2(524288 (S/S12)^0.383)), the "Power Lines" batch law: 2^20 for d18 and d20."""
    ideal = REFERENCE_BATCH_TOKENS * (architecture.scaling_parameters / REFERENCE_SCALING_PARAMETERS) ** 0.383
    return int(2 ** round(log2(ideal)))


def family_optimization(architecture: Architecture, batch_tokens: int) -> Optimization:
    """Peak rates of the miniseries, from nanochat 4e1694c's rules.

    Rates scale with sqrt(B/2^19), the embedding tables' also with (n/768)^-1/2. Muon's weight decay is
    .28 sqrt(B/2^19) S12/S: the token horizon cancels, so every tokens-per-parameter shares it
    (d18 .1343931, d20 .0994389).
    """
    batch_scale = sqrt(batch_tokens / REFERENCE_BATCH_TOKENS)
    width_scale = (architecture.width / REFERENCE_WIDTH) ** -0.5
    decay = 0.28 * batch_scale * REFERENCE_SCALING_PARAMETERS / architecture.scaling_parameters
    return Optimization(
        matrices=Muon(
            peak_rate=0.02 * batch_scale,
            orthogonalization="polar-express",
            second_moment_beta=0.9,
            momentum_start=0.85,
            momentum_peak=0.97,
            momentum_final=0.90,
            momentum_warmup_steps=400,
            weight_decay=decay,
        ),
        embedding=AdamW(
            peak_rate=0.3 * width_scale * batch_scale, beta1=0.8, beta2=0.995, epsilon=1e-10, weight_decay=0.001
        ),
        unembedding=AdamW(
            peak_rate=0.008 * width_scale * batch_scale, beta1=0.8, beta2=0.96, epsilon=1e-10, weight_decay=0.01
        ),
        schedule=Schedule(warmup_steps=40, warmdown_fraction=0.65, final_fraction=0.05),
        gradient_clip=None,
    )
