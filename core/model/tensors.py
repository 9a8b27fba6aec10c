"""Tensors in one safetensors file: read and written whole, and every failure is one line that names the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.stages.context import StageError


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` in their dtypes; the same give the same bytes. Raises `StageError` when the disk fails."""
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(on_host, path)
    except (SafetensorError, OSError) as error:
        needed = sum(tensor.nbytes for tensor in on_host.values())
        raise StageError(
            f"{path}: {needed / 1e9:.2f} GB could not be written: {error}; free space there and run again"
        ) from None


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read all tensors in the dtypes they were saved in; raises `StageError` when the file cannot be read."""
    try:
        return dict(load_file(path, device=str(device)))
    except (FileNotFoundError, SafetensorError) as error:
        raise StageError(f"{path}: cannot be read as safetensors: {error}") from None
