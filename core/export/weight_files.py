"""Exported weights on disk: `model.safetensors`, or shards and an index above a size; one tensor in memory at a time.

The files are byte for byte what `safetensors.torch.save_file` writes, which needs all tensors of a file at once. The
format: the length of the header (8 bytes, little endian), the header (JSON, padded with spaces to a multiple of 8),
then the tensors without gaps, in the order of the header: by name, as all have one dtype.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors import safe_open
from torch import Tensor

from core.stages.context import StageError

PATTERN = "model{suffix}.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}
ALIGNMENT = 8  # bytes
MAX_FILE_BYTES = 5 * 10**9  # the Hub and its clients handle files of this size well


@dataclass(frozen=True)
class Planned:
    """A tensor that is made when it is written."""

    shape: torch.Size
    make: Callable[[], Tensor]


def write_weights(
    folder: Path, tensors: Mapping[str, Planned], dtype: torch.dtype, max_file_bytes: int = MAX_FILE_BYTES
) -> None:
    """Write the tensors in `dtype`, filling files in the order given; raises `StageError` when that fails."""
    split = split_state_dict_into_shards_factory(
        dict(tensors),
        get_storage_size=lambda planned: planned.shape.numel() * dtype.itemsize,
        filename_pattern=PATTERN,
        max_shard_size=max_file_bytes,
    )
    for name, members in split.filename_to_tensors.items():
        _write_file(folder / name, {member: tensors[member] for member in sorted(members)}, dtype)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": dict(sorted(split.tensor_to_filename.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    _check_contents([folder / name for name in split.filename_to_tensors], tensors)


def _write_file(path: Path, tensors: Mapping[str, Planned], dtype: torch.dtype) -> None:
    try:
        with path.open("wb") as file:
            file.write(_header(tensors, dtype))
            for name, planned in tensors.items():
                file.write(_content(name, planned, dtype))  # nothing of it is left when the next one is made
    except OSError as error:
        needed = sum(planned.shape.numel() for planned in tensors.values()) * dtype.itemsize
        raise StageError(
            f"{path}: {needed / 1e9:.2f} GB could not be written: {error}; free space there and run again"
        ) from None


def _content(name: str, planned: Planned, dtype: torch.dtype) -> memoryview:
    tensor = planned.make()
    if tensor.shape != planned.shape:
        raise StageError(f"{name} has shape {tuple(tensor.shape)}, {tuple(planned.shape)} was expected")
    content: memoryview = tensor.to(dtype).contiguous().view(torch.uint8).numpy().data
    return content


def _header(tensors: Mapping[str, Planned], dtype: torch.dtype) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, planned in tensors.items():
        start, end = end, end + planned.shape.numel() * dtype.itemsize
        header[name] = {"dtype": DTYPES[dtype], "shape": list(planned.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _check_contents(files: Sequence[Path], tensors: Mapping[str, Planned]) -> None:
    """Read the lists of contents back and compare them with what was to be written."""
    found: dict[str, list[int]] = {}
    for path in files:
        with safe_open(path, framework="pt") as written:
            found |= {name: written.get_slice(name).get_shape() for name in written.keys()}  # noqa: SIM118 (not a mapping)
    if found != {name: list(planned.shape) for name, planned in tensors.items()}:
        raise StageError(f"{files[0].parent}: {len(found)} of {len(tensors)} tensors arrived; write the export again")
