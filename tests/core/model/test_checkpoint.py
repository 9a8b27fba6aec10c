"""A model folder holds everything needed to use the model, `use_rope` above all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.model import checkpoint
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState, load_model, load_state, load_weights
from core.model.transformer import Transformer
from core.recipes.tiny import OPTIMIZATION
from core.stages.context import StageError

Build = Callable[..., Transformer]


def state(architecture: Architecture, **changes: object) -> ModelState:
    plain = ModelState(
        phase="base",
        step=10,
        steps=40,
        use_rope=False,
        direction="forward",
        sequence_length=12,
        batch_tokens=48,
        tokens_seen=480,
        precision="fp32",
        seed=1,
        architecture=architecture,
        optimization=OPTIMIZATION,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize("use_rope", [True, False])
def test_a_saved_model_comes_back_with_its_weights_state_and_positions(
    build: Build, toy: Architecture, tmp_path: Path, use_rope: bool
) -> None:
    model = build(toy, use_rope)
    checkpoint.save(tmp_path, state(toy, use_rope=use_rope), model.state_dict())
    loaded = load_model(tmp_path)
    assert load_state(tmp_path) == state(toy, use_rope=use_rope)
    assert loaded.use_rope is use_rope
    assert not loaded.training
    tokens = torch.arange(12).unsqueeze(0)
    assert torch.equal(loaded(tokens), model(tokens))


def test_saving_twice_gives_the_same_bytes(build: Build, toy: Architecture, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        checkpoint.save(tmp_path / name, state(toy), build(toy).state_dict())
    for file in ("model.safetensors", "state.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_weights_load_in_their_own_dtype_and_the_model_in_the_one_asked_for(
    build: Build, toy: Architecture, tmp_path: Path
) -> None:
    model = build(toy)
    model.transformer.wte.to(torch.bfloat16)
    checkpoint.save(tmp_path, state(toy), model.state_dict())
    assert load_weights(tmp_path)["transformer.wte.weight"].dtype == torch.bfloat16
    assert {parameter.dtype for parameter in load_model(tmp_path).parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in load_model(tmp_path, dtype=torch.bfloat16).parameters()} == {
        torch.bfloat16
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved.pop("use_rope"), "field use_rope: Field required"),
        (lambda saved: saved.update(window=3), "field window: Unexpected"),
        (lambda saved: saved["architecture"].update(depth="two"), "field architecture.depth: .*integer"),
    ],
)
def test_a_state_with_a_missing_unknown_or_wrong_field_is_refused_by_name(
    toy: Architecture, tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    checkpoint.save(tmp_path, state(toy), {"lm_head.weight": torch.zeros(1)})
    saved = json.loads((tmp_path / "state.json").read_text())
    change(saved)
    (tmp_path / "state.json").write_text(json.dumps(saved))
    with pytest.raises(StageError, match=message):
        load_state(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"state\.json: not there"):
        load_model(tmp_path)
    with pytest.raises(StageError, match=r"model\.safetensors: cannot be read"):
        load_weights(tmp_path)


def test_a_full_disk_is_named_with_what_did_not_fit(toy: Architecture, small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("size=100k")
    with pytest.raises(StageError, match=r"model\.safetensors: 0\.01 GB could not be written: .*free space") as full:
        checkpoint.save(folder, state(toy), {"lm_head.weight": torch.zeros(2_000_000)})
    assert "\n" not in str(full.value)
