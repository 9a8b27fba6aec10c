"""A checkpoint becomes an artifact and comes out again as it went in; what is not of this family is refused by name."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.errors import StoreError
from artifacts.store import Store
from core.adoption.adopt import sha256_of
from core.adoption.artifact import Adoption, adopt, adopted_stage, find_adopted
from core.chat.artifact import chosen_model
from core.model.checkpoint import load_model, load_state
from core.stages.context import StageError
from core.stages.identity import ExportIdentity

_specification = importlib.util.spec_from_file_location(
    "run_export", Path(__file__).parents[1] / "export" / "run_export.py"
)
assert _specification is not None
run_export = importlib.util.module_from_spec(_specification)
assert _specification.loader is not None
_specification.loader.exec_module(run_export)


def export_native(artifact: Path, output: Path) -> Path:
    """The native export of an artifact that holds its tokenizer too."""
    identity = ExportIdentity(format_version=1, phase=load_state(artifact).phase)
    run_export.make("core.export.native", identity, artifact, artifact, output)
    return output


def adopted(store: Store, folder: Path, **said: Any) -> Path:
    """Adopt and return the artifact's files."""
    stage, _ = adopt(Adoption(folder=folder, **said), store)
    return store.fetch(stage.address)


def tensors_of(folder: Path) -> dict[str, str]:
    """sha256 of every tensor of the exported weights and optimizer."""
    (weights,), (optimizer,) = folder.glob("model_*.pt"), folder.glob("optim_*.pt")
    found = dict(torch.load(weights, weights_only=True))
    for number, state in torch.load(optimizer, weights_only=True)["state"].items():
        found |= {f"{number} {slot}": value for slot, value in state.items() if isinstance(value, torch.Tensor)}
    return {name: sha256_of(tensor) for name, tensor in found.items()}


def test_our_own_export_comes_out_again_as_it_went_in(store: Store, trained: Path, tmp_path: Path) -> None:
    first = export_native(trained, tmp_path / "first")
    artifact = adopted(store, first)
    assert load_state(artifact) == load_state(trained)
    second = export_native(artifact, tmp_path / "second")
    assert tensors_of(second) == tensors_of(first)
    for name in ("tokenizer.pkl", "token_bytes.pt", "model_000006.pt", "optim_000006_rank0.pt"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
    tokens = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(load_model(artifact)(tokens), load_model(trained)(tokens))


def test_a_checkpoint_of_the_seed_gives_the_same_logits(store: Store, trained: Path, theirs: Any) -> None:
    artifact = adopted(store, theirs.write())
    state = load_state(artifact)
    assert (state.phase, state.use_rope, state.step, state.steps, state.batch_tokens) == ("base", False, 6, 6, 192)
    assert (state.architecture.mlp, state.architecture.rope_base) == ("swiglu", 100_000.0)
    tokens = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(load_model(artifact)(tokens), load_model(trained)(tokens))


def test_without_its_optimizer_a_model_is_exported_without_one(store: Store, theirs: Any, tmp_path: Path) -> None:
    exported = export_native(adopted(store, theirs.write()), tmp_path / "exported")
    assert not list(exported.glob("optim_*"))
    meta = json.loads((exported / "meta_000006.json").read_text())
    assert (meta["val_bpb"], meta["loop_state"]["smooth_train_loss"]) == (1.5, pytest.approx(3.5))


def test_compiled_names_padded_tables_and_narrow_tensors_are_taken_as_they_are(
    store: Store, theirs: Any, tmp_path: Path
) -> None:
    narrow = {name: tensor.bfloat16() for name, tensor in theirs.tensors.items()}
    theirs.tensors = dict(narrow)
    for table in ("transformer.wte.weight", "lm_head.weight"):
        theirs.tensors[table] = torch.cat([narrow[table], torch.ones(55, narrow[table].shape[1]).bfloat16()])
    theirs.rename("_orig_mod.{}".format)
    exported = export_native(adopted(store, theirs.write()), tmp_path / "exported")
    weights = torch.load(exported / "model_000006.pt", weights_only=True)
    assert {name: sha256_of(tensor) for name, tensor in weights.items()} == {
        name: sha256_of(tensor) for name, tensor in narrow.items()
    }


def test_rope_is_never_guessed(store: Store, theirs: Any) -> None:
    del theirs.meta["loop_state"]["use_rope"]
    folder = theirs.write()
    with pytest.raises(
        StageError, match=r"meta_000006\.json: does not say whether the model uses RoPE.*--use-rope or --no-rope"
    ):
        adopted(store, folder)
    assert load_state(adopted(store, folder, use_rope=False)).use_rope is False
    assert load_state(adopted(store, folder, use_rope=True)).use_rope is True


def test_an_option_cannot_contradict_the_meta_file(store: Store, theirs: Any) -> None:
    with pytest.raises(StageError, match=r"meta_000006\.json: says that use_rope is false; leave the option out"):
        adopted(store, theirs.write(), use_rope=True)


def widen(theirs: Any) -> None:
    theirs.tensors["transformer.h.0.attn.c_q.weight"] = torch.zeros(3, 3)


def drop(theirs: Any) -> None:
    del theirs.tensors["transformer.h.1.mlp.w_up.weight"]


def add(name: str) -> Any:
    def change(theirs: Any) -> None:
        theirs.tensors[name] = torch.zeros(2)

    return change


def halve(theirs: Any) -> None:
    theirs.tensors["lm_head.weight"] = theirs.tensors["lm_head.weight"].half()


def slide(theirs: Any) -> None:
    theirs.meta["model_config"]["window_pattern"] = "SSSL"


def forget(theirs: Any) -> None:
    del theirs.meta["model_config"]["n_head"]


def shrink(theirs: Any) -> None:
    theirs.meta["model_config"]["vocab_size"] = 100


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (widen, r"transformer\.h\.0\.attn\.c_q\.weight has shape \(3, 3\), this architecture gives it \(32, 32\)"),
        (drop, r"tensor transformer\.h\.1\.mlp\.w_up\.weight is missing"),
        (add("transformer.h.0.extra"), r"tensor transformer\.h\.0\.extra has no place in this architecture"),
        (add("value_embeds.0.weight"), r"value_embeds\.0\.weight says that the model has value embeddings"),
        (add("resid_lambdas"), r"resid_lambdas says that the model has scaled residuals"),
        (halve, r"lm_head\.weight is torch\.float16; float32 and bfloat16 can be adopted"),
        (slide, "window_pattern SSSL has sliding windows"),
        (forget, r"meta_000006\.json: has no n_head, without which the model cannot be built"),
        (shrink, "has 265 tokens, the model 100; they are not of one checkpoint"),
    ],
)
def test_what_is_not_of_this_family_is_refused_in_one_line(store: Store, theirs: Any, change: Any, line: str) -> None:
    change(theirs)
    with pytest.raises(StageError, match=line) as failure:
        adopted(store, theirs.write())
    assert "\n" not in str(failure.value)
    assert store.survey() == {} or not any(found.committed for found in store.survey().values())


def test_missing_files_are_named(store: Store, theirs: Any) -> None:
    folder = theirs.write()
    (folder / "tokenizer.pkl").rename(folder.parent / "tokenizer.pkl")
    with pytest.raises(StageError, match=r"tokenizer\.pkl: not there; name the folder of the tokenizer"):
        adopted(store, folder)
    assert load_state(adopted(store, folder, tokenizer=folder.parent)).step == 6
    (folder / "meta_000006.json").unlink()
    with pytest.raises(StageError, match=r"has model_000006\.pt, but no meta_000006\.json"):
        adopted(store, folder)
    (folder / "model_000006.pt").unlink()
    with pytest.raises(StageError, match=r"holds no model_<step>\.pt"):
        adopted(store, folder)


def test_weights_that_are_a_program_are_not_run(store: Store, theirs: Any, tmp_path: Path) -> None:
    folder = theirs.write()
    torch.save({"lm_head.weight": _Program(tmp_path / "ran")}, folder / "model_000006.pt")
    with pytest.raises(StageError, match=r"model_000006\.pt: cannot be read as tensors"):
        adopted(store, folder)
    assert not (tmp_path / "ran").exists()


class _Program:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_another_models_optimizer_is_refused(store: Store, trained: Path, theirs: Any, tmp_path: Path) -> None:
    ours, folder = export_native(trained, tmp_path / "ours"), theirs.write()
    state = torch.load(ours / "optim_000006_rank0.pt", weights_only=True)
    state["param_groups"].pop()
    torch.save(state, folder / "optim_000006_rank0.pt")
    with pytest.raises(StageError, match=r"is not the optimizer state of this model .*move it away to adopt the model"):
        adopted(store, folder)
    (folder / "optim_000006_rank1.pt").write_bytes(b"")
    with pytest.raises(StageError, match="the optimizer state of step 000006 is in 2 parts"):
        adopted(store, folder)


def test_a_checkpoint_is_adopted_once_and_found_by_name_and_key(store: Store, theirs: Any, tmp_path: Path) -> None:
    folder = theirs.write()
    stage, manifest = adopt(Adoption(folder=folder, name="mine"), store)
    again, same = adopt(Adoption(folder=folder, name="mine"), store)
    assert (again.key, same.attempt) == (stage.key, manifest.attempt)
    assert manifest.provenance["from"] == str(folder)
    moved = folder.rename(tmp_path / "moved")
    assert adopted_stage(Adoption(folder=moved, phase="base")).key == stage.key, "what it is does not hang on a place"
    for wanted in ("mine", stage.key, stage.key[:8]):
        found = find_adopted(store, wanted)
        assert found is not None
        assert (found.key, found.identity) == (stage.key, stage.identity)
    assert find_adopted(store, "yours") is None
    theirs.meta["step"] = 7
    adopt(Adoption(folder=theirs.write(), name="mine"), store)
    with pytest.raises(StoreError, match="mine names 2 adopted models"):
        find_adopted(store, "mine")


def test_an_adopted_model_can_be_talked_to(store: Store, theirs: Any) -> None:
    stage, _ = adopt(Adoption(folder=theirs.write(), name="mine"), store)
    chosen = chosen_model("mine", None, store)
    assert (chosen.tag, chosen.model.key, chosen.tokenizer.key) == ("mine", stage.key, stage.key)
    subject = chosen.load(store)
    assert subject.tokenizer.vocabulary_size == subject.state.architecture.vocabulary_size
    with pytest.raises(StageError, match="mine was adopted as a model of phase base; leave out --phase"):
        chosen_model("mine", "sft", store)
    assert chosen_model("tiny", "base", store).tag == "tiny"


def test_the_phase_must_be_known(store: Store, theirs: Any, tmp_path: Path) -> None:
    checkpoint = replace(theirs, folder=tmp_path / "downloaded")
    with pytest.raises(StageError, match="say --phase base or sft"):
        adopted(store, checkpoint.write())
    assert load_state(adopted(store, checkpoint.folder, phase="sft")).phase == "sft"
