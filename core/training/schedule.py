"""Rates as pure functions of (step, N): nothing else, so two runs of one horizon agree at every step.

Let s be the step about to be taken, W = round(f N) the warmdown (f = .65), N - W its first step.
- rate multiplier: (s+1)/40 for s < 40; 1 up to and including N - W; then p + (1-p) .05 with p = (N-s)/W.
- Muon's momentum: .85 -> .97 linearly over 400 steps, then .97, then .97 -> .90 linearly over the warmdown.
- Muon's weight decay: peak (1 + cos(pi s/N)) / 2 in pretraining; constant in fine-tuning.
The constants are those of the miniseries (nanochat 4e1694c); a recipe states its own. Dropping RoPE changes none of
them: a branch goes on with the rates its sibling has at that step, 1 / .781 / .415 of the peak at 25 / 50 / 75 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from core.recipes.optimization import Muon, Optimization, Schedule


@dataclass(frozen=True)
class Rates:
    """What one optimizer step uses besides the peak rates."""

    multiplier: float  # of every group's peak rate
    momentum: float  # Muon's mu
    weight_decay: float  # Muon's; multiplied by its rate where it is applied


def warmdown_steps(schedule: Schedule, steps: int) -> int:
    """W = round(f N), Python's `round`."""
    return round(schedule.warmdown_fraction * steps)


def rate_multiplier(schedule: Schedule, step: int, steps: int) -> float:
    """Multiplier of every peak rate at `step` of a horizon of `steps`."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    warmdown = warmdown_steps(schedule, steps)
    if step <= steps - warmdown:
        return 1.0
    left = (steps - step) / warmdown
    return left + (1 - left) * schedule.final_fraction


def muon_momentum(muon: Muon, schedule: Schedule, step: int, steps: int) -> float:
    """Muon's momentum at `step`; in a horizon so short that warmup and warmdown overlap, the warmup wins."""
    if step < muon.momentum_warmup_steps:
        behind = step / muon.momentum_warmup_steps
        return (1 - behind) * muon.momentum_start + behind * muon.momentum_peak
    warmdown = warmdown_steps(schedule, steps)
    if step < steps - warmdown:
        return muon.momentum_peak
    behind = (step - (steps - warmdown)) / warmdown
    return (1 - behind) * muon.momentum_peak + behind * muon.momentum_final


def weight_decay_multiplier(step: int, steps: int) -> float:
    """Half a cosine from 1 at step 0 to 0 at the horizon."""
    return 0.5 * (1 + cos(pi * step / steps))


def pretraining_rates(optimization: Optimization, step: int, steps: int) -> Rates:
    """Rates of pretraining and recalibration."""
    return Rates(
        multiplier=rate_multiplier(optimization.schedule, step, steps),
        momentum=muon_momentum(optimization.matrices, optimization.schedule, step, steps),
        weight_decay=optimization.matrices.weight_decay * weight_decay_multiplier(step, steps),
    )


def finetuning_rates(optimization: Optimization, step: int, steps: int) -> Rates:
    """Rates of fine-tuning: Muon's weight decay stays at the recipe's value, which is where pretraining left it."""
    return Rates(
        multiplier=rate_multiplier(optimization.schedule, step, steps),
        momentum=muon_momentum(optimization.matrices, optimization.schedule, step, steps),
        weight_decay=optimization.matrices.weight_decay,
    )
