"""Which machine a number was measured on, so that a table can say so."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFORMATION = Path("/proc/cpuinfo")


def describe(device: torch.device) -> dict[str, str]:
    """Device, threads and versions, for the heading of a table and for its JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": name,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def cpu_name() -> str:
    """The processor's model, or its architecture where the system does not say."""
    if CPU_INFORMATION.is_file():
        for line in CPU_INFORMATION.read_text().splitlines():
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()
    return platform.machine()
