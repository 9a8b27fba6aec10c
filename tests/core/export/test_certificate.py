"""A damaged export fails the check that is there for it, and the stage that wrote it fails with that check's name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.data.tokenizer import Tokenizer
from core.export.certificate import Certificate, describe, read_certificate
from core.export.certify import certify, require
from core.export.huggingface import hub_export, write_export
from core.export.parity import Sample
from core.export.source import Source, parameter_shapes
from core.export.twin import twin_export
from core.model.checkpoint import ModelState, load_state
from core.stages.context import StageError

HF = "core.export.huggingface"
FEW = Sample(lengths=4, conversations=3, continued=2, new_tokens=6, texts=300, rendered=40)


@pytest.fixture(scope="module")
def chat_model(export: Callable[..., Any], base_state: ModelState) -> Any:
    """An exported chat model with positions."""
    return export(HF, replace(base_state, phase="sft"))


@pytest.fixture(scope="module")
def model_without_positions(export: Callable[..., Any], relu2_state: ModelState) -> Any:
    """An exported base model without positions."""
    return export(HF, replace(relu2_state, use_rope=False))


def opened(exported: Any) -> Source:
    state = load_state(exported.model)
    return Source(exported.model, state, Tokenizer.load(exported.tokenizer), parameter_shapes(state.architecture))


def certified(exported: Any, folder: Path, damage: Callable[[Path], None]) -> Certificate:
    """The certificate of a damaged copy."""
    copy = folder / "copy"
    shutil.copytree(exported.folder, copy)
    damage(copy)
    return certify(hub_export(opened(exported), copy), folder, FEW)


def failed(certificate: Certificate) -> set[str]:
    return {check.name for check in certificate.failures}


def edit_json(file: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / file).read_text())
        change(document)
        (folder / file).write_text(json.dumps(document))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def swap(mapping: dict[str, Any], one: str, other: str) -> None:
    mapping[one], mapping[other] = mapping[other], mapping[one]


QUERY, LATER_QUERY = (f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1))
swapped_tensors = edit_weights(lambda weights: swap(weights, QUERY, LATER_QUERY))
missing_tensor = edit_weights(lambda weights: weights.__delitem__("lm_head.weight"))
flipped_positions = edit_json("config.json", lambda config: config.update(use_rope=not config["use_rope"]))
other_theta = edit_json(
    "config.json",
    lambda config: config.update(rope_theta=10_000.0, rope_parameters={"rope_type": "default", "rope_theta": 10_000.0}),
)
swapped_ids = edit_json("tokenizer.json", lambda file: swap(file["model"]["vocab"], "o", "x"))
other_end = edit_json("generation_config.json", lambda config: config.update(eos_token_id=[0]))


def edited_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|user_end|>", "<|user_end|> "))


def broken_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('never') }}")


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    edit_json("tokenizer_config.json", lambda config: config.pop("chat_template"))(folder)


edited_copy_of_the_template = edit_json(
    "tokenizer_config.json",
    lambda config: config.update(chat_template=config["chat_template"].replace("bos_token", "eos_token")),
)


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        (swapped_tensors, {"tensors", "logits", "chat_logits"}),
        (missing_tensor, {"tensors", "logits", "chat_logits"}),
        (flipped_positions, {"settings", "use_rope", "logits", "chat_logits"}),
        (other_theta, {"settings", "logits", "chat_logits"}),
        (swapped_ids, {"vocabulary", "tokenizer", "chat_template"}),
        (other_end, {"settings"}),
        (edited_template, {"chat_template"}),
        (broken_template, {"chat_template"}),
        (no_template, {"chat_template"}),
        (edited_copy_of_the_template, {"chat_template"}),
    ],
    ids=[
        "swapped tensors",
        "missing tensor",
        "flipped positions",
        "other theta",
        "swapped ids",
        "other end",
        "edited template",
        "broken template",
        "no template",
        "edited copy of the template",
    ],
)
def test_damage_fails_the_checks_that_are_there_for_it(
    chat_model: Any, tmp_path: Path, damage: Callable[[Path], None], checks: set[str]
) -> None:
    certificate = certified(chat_model, tmp_path, damage)
    greedy = {check.name for check in certificate.checks if check.name.startswith("greedy")}
    assert failed(certificate) - greedy - {"rounding"} == checks
    assert not certificate.passed
    with pytest.raises(StageError, match=rf"the export is not the model: check ({'|'.join(checks)}): .* must be "):
        require(certificate)


def test_a_failure_says_which_and_by_how_much_in_one_line(chat_model: Any, tmp_path: Path) -> None:
    certificate = certified(chat_model, tmp_path, swapped_tensors)
    with pytest.raises(StageError) as error:
        require(certificate)
    assert str(error.value).startswith(
        "the export is not the model: check tensors: 2 tensors are off, must be at most 0, over 16 tensors "
        f"({QUERY} differs from the trained one); also failed: logits, chat_logits"
    )
    assert "\n" not in str(error.value)


def test_a_wrong_theta_of_a_model_without_positions_is_noticed(model_without_positions: Any, tmp_path: Path) -> None:
    assert failed(certified(model_without_positions, tmp_path, other_theta)) == set()
    shutil.rmtree(tmp_path / "copy")
    larger = edit_json("config.json", lambda config: config.update(rope_theta=5.0))
    assert failed(certified(model_without_positions, tmp_path, larger)) == {"settings"}


def test_positions_given_to_a_model_without_them_are_noticed(model_without_positions: Any, tmp_path: Path) -> None:
    assert {"use_rope", "logits"} <= failed(certified(model_without_positions, tmp_path, flipped_positions))


def test_files_that_transformers_cannot_load_are_one_line(chat_model: Any, tmp_path: Path) -> None:
    wrong_shape = edit_json("config.json", lambda config: config.update(hidden_act="gelu"))
    with pytest.raises(StageError, match="transformers cannot use it: hidden_act 'gelu' is not known"):
        certified(chat_model, tmp_path, wrong_shape)


def test_the_certificate_of_a_sound_export_names_every_file_and_every_check(chat_model: Any) -> None:
    certificate = read_certificate(chat_model.folder)
    assert certificate.passed
    assert certificate.files == describe(chat_model.folder)
    assert [check.name for check in certificate.checks] == [
        "tensors",
        "parameters",
        "settings",
        "vocabulary",
        "tokenizer",
        "chat_template",
        "logits",
        "chat_logits",
        "use_rope",
        "use_rope_effect",
        "rounding",
        "greedy_with_cache",
        "greedy_without_cache",
        "greedy_left_padded",
    ]
    by_name = {check.name: check for check in certificate.checks}
    assert by_name["logits"].measured <= 1e-5
    assert "prompts of 1 to 32 tokens" in by_name["logits"].sample_unit
    assert by_name["use_rope_effect"].measured > 1
    assert by_name["tokenizer"].sample_size > 2000


def test_rounding_to_bfloat16_is_measured_apart_from_parity(export: Callable[..., Any], base_state: ModelState) -> None:
    exported = export(HF, replace(base_state, precision="bf16"))
    by_name = {check.name: check for check in read_certificate(exported.folder).checks}
    assert by_name["logits"].measured <= 1e-5
    assert 1e-9 < by_name["rounding"].measured < 1e-3


def test_a_sharded_export_is_certified_as_a_whole_one_is(chat_model: Any, tmp_path: Path) -> None:
    source = opened(chat_model)
    export = hub_export(source, tmp_path / "sharded")
    export.folder.mkdir()
    write_export(export, max_file_bytes=100_000)
    shards = sorted(path.name for path in export.folder.glob("*.safetensors"))
    assert shards == [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    assert len(shards) > 2
    assert certify(export, tmp_path, FEW).passed
    (export.folder / shards[1]).unlink()
    with pytest.raises(StageError, match="transformers cannot use it"):
        certify(export, tmp_path, FEW)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("use_rope", [True, False], ids=["rope", "nope"])
@pytest.mark.parametrize("mlp", ["swiglu", "relu2"])
def test_the_twin_says_the_same_before_the_cap(
    export: Callable[..., Any],
    base_state: ModelState,
    relu2_state: ModelState,
    mlp: str,
    use_rope: bool,
    precision: str,
) -> None:
    state = {"swiglu": base_state, "relu2": relu2_state}[mlp]
    exported = export("core.export.twin", replace(state, use_rope=use_rope, precision=precision, phase="sft"))
    certificate = read_certificate(exported.folder)
    by_name = {check.name: check for check in certificate.checks}
    assert certificate.layout == "twin"
    assert by_name["logits"].measured <= 5e-5
    assert not list(exported.folder.glob("*.py"))
    config = json.loads((exported.folder / "config.json").read_text())
    assert config["nanochat_difference"] == certificate.difference
    assert certificate.difference.startswith("logits are not capped: the model's are 15 * tanh(logits / 15)")
    assert "15 * tanh(logits / 15)" in (exported.folder / "README.md").read_text()


def test_what_the_twin_tells_its_reader_to_paste_runs_beside_it(
    export: Callable[..., Any], base_state: ModelState
) -> None:
    exported = export("core.export.twin", replace(base_state, use_rope=False))
    program = (exported.folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    ask = 'scores = model.generate(**tokenizer("The", return_tensors="pt"), max_new_tokens=1, output_logits=True, '
    ask += "return_dict_in_generate=True, output_scores=True, do_sample=True, logits_processor=capped, top_k=0)\n"
    ask += "print('scores', float((scores.scores[0] - cap * (scores.logits[0] / cap).tanh()).abs().max()))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ask}"], cwd=exported.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<|bos|>The")
    assert float(done.stdout.rpartition("scores ")[2]) <= 1e-5


def test_a_damaged_twin_is_noticed(export: Callable[..., Any], base_state: ModelState, tmp_path: Path) -> None:
    exported = export("core.export.twin", base_state)

    def broken(damage: Callable[[Path], None]) -> set[str]:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(exported.folder, tmp_path / "copy")
        damage(tmp_path / "copy")
        return failed(certify(twin_export(opened(exported), tmp_path / "copy"), tmp_path, FEW))

    assert {"tensors", "logits"} <= broken(swapped_tensors)
    scaled = {"rope_type": "linear", "rope_theta": 100_000.0, "factor": 2.0}
    assert {"settings", "logits"} <= broken(  # transformers 4 reads the other name
        edit_json("config.json", lambda config: config.update(rope_parameters=scaled, rope_scaling=scaled))
    )


def test_what_is_certified_has_to_be_complete(chat_model: Any, tmp_path: Path) -> None:
    export = hub_export(opened(chat_model), chat_model.folder)
    tensors = {name: planned for name, planned in export.tensors.items() if name != QUERY}
    assert "parameters" in failed(certify(replace(export, tensors=tensors), tmp_path, FEW))
