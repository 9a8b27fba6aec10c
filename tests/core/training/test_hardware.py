"""Peaks by the names that drivers give, utilization as a fraction of them, and memory as the process sees it."""

from __future__ import annotations

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.hardware import dense_bf16_peak, memory_in_use, model_flops_utilization


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H800 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA A800-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA RTX 6000 Ada Generation", 364.2e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 5090", 209.5e12),
        ("AMD Instinct MI300X", 1307.4e12),
    ],
)
def test_a_known_device_has_the_dense_peak_of_its_board(name: str, peak: float) -> None:
    assert dense_bf16_peak(name) == peak


@pytest.mark.parametrize(
    "name",
    [
        "cpu",
        "",
        "Tesla V100-SXM2-16GB",
        "NVIDIA A10G",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    ],
)
def test_a_device_that_is_unknown_cut_down_or_a_slice_has_no_peak(name: str) -> None:
    assert dense_bf16_peak(name) is None


def test_utilization_is_a_fraction_of_all_devices_together() -> None:
    # The seed card's d18 in 4 hours: 202.7K tokens/s of 2.96564e9 FLOP each are 601 of an H100's 989 TFLOP/s.
    assert model_flops_utilization(202_700, 2.96564e9, 989e12, 1) == pytest.approx(0.608, abs=5e-4)
    assert model_flops_utilization(8 * 202_700, 2.96564e9, 989e12, 8) == pytest.approx(0.608, abs=5e-4)


@given(st.floats(0, 1e9), st.floats(0, 1e15), st.integers(1, 1024))
def test_without_a_peak_there_is_no_utilization(speed: float, flops: float, devices: int) -> None:
    assert model_flops_utilization(speed, flops, None, devices) is None


def test_memory_on_a_cpu_is_counted_in_bytes_and_remembers_what_was_given_back() -> None:
    held = torch.ones(1 << 26)  # float32: 256 MiB, every page written
    size = held.nbytes
    del held
    assert size <= memory_in_use(torch.device("cpu")) <= psutil.virtual_memory().total
