"""The device that a run is on: the memory it held. What such devices can do is in `core.training.accelerators`."""

from __future__ import annotations

import resource
import sys

import torch

from core.training.accelerators import dense_bf16_peak, model_flops_utilization

__all__ = ["dense_bf16_peak", "memory_in_use", "model_flops_utilization"]


def memory_in_use(device: torch.device) -> int:
    """Bytes that this process has held at most so far: of `device`'s memory if that is a GPU, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
