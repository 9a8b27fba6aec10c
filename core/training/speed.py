"""How fast a run is, in the words of one log line: tokens a second, model FLOP utilization, memory.

MFU counts 6 S + 12 n L T FLOPs a token (full attention, forward and backward) against the dense bf16 peak of the
devices, whatever precision they compute in; it is left out where the peak is not known, as on CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

from core.model.architecture import Architecture
from core.training.distributed import World
from core.training.hardware import dense_bf16_peak, memory_in_use, model_flops_utilization


@dataclass(frozen=True)
class Speed:
    """What turns a rate in tokens a second, all ranks together, into the numbers people compare."""

    flops_per_token: int
    peak: float | None  # FLOP/s of one device
    world: World

    @classmethod
    def of(cls, architecture: Architecture, sequence_length: int, world: World) -> Self:
        """For rows of `sequence_length`, which a fine-tune may have longer than the architecture says."""
        name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
        flops = replace(architecture, sequence_length=sequence_length).flops_per_token
        return cls(flops, dense_bf16_peak(name), world)

    def values(self, rate: float) -> dict[str, float]:
        """For `metrics.jsonl`."""
        utilization = self._utilization(rate)
        known = {} if utilization is None else {"mfu": round(utilization, 4)}
        return {"tokens_per_second": round(rate), **known, "memory_bytes": memory_in_use(self.world.device)}

    def text(self, rate: float) -> str:
        """For the log."""
        utilization = self._utilization(rate)
        known = "" if utilization is None else f"MFU {utilization:.1%}, "
        return f"{rate:,.0f} tokens/s, {known}{memory_in_use(self.world.device) / 1e9:.1f} GB"

    def _utilization(self, rate: float) -> float | None:
        return model_flops_utilization(rate, self.flops_per_token, self.peak, self.world.size)
