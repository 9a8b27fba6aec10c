"""What the accelerators people rent can do, and how much of it a run gets. Free of torch, for planning needs it too.

A peak here is the dense bf16 tensor rate with float32 accumulation of one device as torch counts devices. Datasheets
print it with an asterisk: where the figure has 2:4 sparsity in it, half of it stands here. A device that is not in the
table has no peak, and so no utilization: a guess would be read as a measurement.
"""

from __future__ import annotations

import re

# By a pattern in the name that torch.cuda.get_device_name gives; the first that is found counts, so a board comes
# before its family. Consumer and workstation names must end there: laptops and cut-down boards carry a suffix.
PEAKS = (
    (r"\bGB200\b", 2500e12),  # GB200 NVL72 datasheet: 360 PFLOP/s sparse of 72 GPUs
    (r"\bB200\b", 2250e12),  # DGX B200 datasheet: 36 PFLOP/s sparse of 8 GPUs
    (r"\bB100\b", 1750e12),  # HGX B100 datasheet: 28 PFLOP/s sparse of 8 GPUs
    (r"\bGH200\b", 989e12),  # GH200 datasheet: 1,979 sparse
    (r"\bH200 NVL\b", 835e12),  # H200 datasheet: 1,671 sparse
    (r"\bH200\b", 989e12),  # H200 datasheet, SXM: 1,979 sparse
    (r"\bH[18]00 NVL\b", 835e12),  # H100 datasheet: 1,671 sparse
    (r"\bH[18]00 PCIe\b", 756e12),  # H100 PCIe product brief: 1,513 sparse; the H800 differs in links and float64 only
    (r"\bH[18]00\b", 989e12),  # H100 datasheet, SXM: 1,979 sparse
    (r"\bA[18]00\b", 312e12),  # A100 datasheet, SXM and PCIe: 312; the A800 differs in links only
    (r"\bA40\b", 149.7e12),  # A40 datasheet
    (r"\bA30\b", 165e12),  # A30 datasheet
    (r"\bA10\b", 125e12),  # A10 datasheet
    (r"\bL40S\b", 362e12),  # L40S datasheet: 733 sparse (362.05 dense)
    (r"\bL40\b", 181e12),  # L40 datasheet: 181.05
    (r"\bL4\b", 121e12),  # L4 datasheet: 242 sparse
    (r"\bRTX 6000 Ada Generation$", 364.2e12),  # Ada professional whitepaper
    (r"\bRTX A6000$", 154.8e12),  # GA102 whitepaper
    (r"\bRTX 5090$", 209.5e12),  # GeForce Blackwell whitepaper
    (r"\bRTX 4090$", 165.2e12),  # GeForce Ada whitepaper
    (r"\bRTX 3090$", 71e12),  # GA102 whitepaper
    (r"\bMI3(00|25)X\b", 1307.4e12),  # Instinct MI300X and MI325X datasheets
    (r"\bMI300A\b", 980.6e12),  # Instinct MI300A datasheet
)


def dense_bf16_peak(device_name: str) -> float | None:
    """FLOP/s of the device that `torch.cuda.get_device_name` calls `device_name`; None for "cpu" and the unknown.

    A slice of a partitioned GPU ("... MIG 1g.10gb") is unknown: the table is of whole ones.
    """
    if re.search(r"\bMIG\b", device_name):
        return None
    return next((peak for pattern, peak in PEAKS if re.search(pattern, device_name)), None)


def model_flops_utilization(
    tokens_per_second: float, flops_per_token: float, peak: float | None, devices: int
) -> float | None:
    """Fraction of what `devices` of `peak` FLOP/s each could do that went into the model (PaLM, arXiv 2204.02311).

    `tokens_per_second` is of all devices together. None where there is no peak.
    """
    return None if peak is None else tokens_per_second * flops_per_token / (peak * devices)
