"""Weights written one tensor at a time: the bytes of the library, in as many files as the size asks for."""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.export.weight_files import Planned, write_weights
from core.stages.context import StageError

SHAPES = st.dictionaries(
    st.text("abcéλ.0_", min_size=1, max_size=9),
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    min_size=1,
    max_size=12,
)


def drawn(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def planned(tensors: dict[str, Tensor]) -> dict[str, Planned]:
    return {name: Planned(tensor.shape, lambda tensor=tensor: tensor) for name, tensor in tensors.items()}


@settings(max_examples=50, deadline=None)
@given(shapes=SHAPES, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_file_has_the_bytes_that_the_library_writes(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype
) -> None:
    folder, tensors = tmp_path_factory.mktemp("weights"), drawn(shapes, dtype)
    write_weights(folder, planned(tensors), dtype)
    save_file(tensors, folder / "library", metadata={"format": "pt"})
    assert (folder / "model.safetensors").read_bytes() == (folder / "library").read_bytes()
    assert len(list(folder.iterdir())) == 2


def test_larger_weights_go_into_shards_in_the_order_given_and_an_index(tmp_path: Path) -> None:
    tensors = drawn({"last": (100,), "embedding": (50,), "layer.1": (50,), "layer.0": (10,)}, torch.float32)
    write_weights(tmp_path, planned(tensors), torch.float32, max_file_bytes=420)
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * 210
    assert index["weight_map"] == {"last": names[0], "embedding": names[1], "layer.1": names[1], "layer.0": names[2]}
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="pt") as opened:
            assert torch.equal(opened.get_tensor(name), tensors[name])


def test_no_tensor_is_made_before_the_last_one_is_gone(tmp_path: Path) -> None:
    made: list[weakref.ref[Tensor]] = []

    def make() -> Tensor:
        assert not [one for one in made if one() is not None]
        tensor = torch.ones(1000)
        made.append(weakref.ref(tensor))
        return tensor

    tensors = {f"layer.{number}": Planned(torch.Size([1000]), make) for number in range(9)}
    write_weights(tmp_path, tensors, torch.float32, max_file_bytes=12_000)
    assert len(made) == 9


def test_a_tensor_of_another_shape_than_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"one has shape \(3,\), \(2,\) was expected"):
        write_weights(tmp_path, {"one": Planned(torch.Size([2]), lambda: torch.ones(3))}, torch.float32)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(StageError, match=r"model\.safetensors: 0\.00 GB could not be written: .*No space left.*free"):
        write_weights(tmp_path, planned(drawn({"one": (100_000,)}, torch.float32)), torch.float32)
