"""From the meta file of a checkpoint to what a model is: taken from it as far as it goes, from the tensors where not.

What neither says is the family's: theta 100,000 and no norm after the embedding for SwiGLU (the miniseries), theta
10,000 and that norm for ReLU^2 (nanochat before March 2026), softcap 15, epsilon 1e-6, the rates of the family.
`use_rope` is never assumed: a DroPE model that is loaded with positions is silently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, bfloat16

from core.model.architecture import Architecture, Mlp
from core.model.checkpoint import ModelState
from core.recipes.optimization import REFERENCE_BATCH_TOKENS, Optimization, family_optimization
from core.stages.context import StageError
from core.stages.identity import AdoptedIdentity

Meta = Mapping[str, Any]
MLP_MATRICES: dict[Mlp, str] = {
    "swiglu": "transformer.h.0.mlp.w_gate.weight",
    "relu2": "transformer.h.0.mlp.c_fc.weight",
}
LOGIT_SOFTCAP, NORM_EPSILON = 15.0, 1e-6

_ARCHITECTURE: TypeAdapter[Architecture] = TypeAdapter(Architecture)
_OPTIMIZATION: TypeAdapter[Optimization] = TypeAdapter(Optimization)
_STATE: TypeAdapter[ModelState] = TypeAdapter(ModelState)


def describe_model(path: Path, meta: Meta, tensors: Mapping[str, Tensor], identity: AdoptedIdentity) -> ModelState:
    """The state of the adopted model, described by the meta file at `path`.

    Raises `StageError` for what is missing, contradictory or unsupported.
    """
    try:
        architecture = describe_architecture(meta, tensors)
        return _describe(meta, tensors, identity, architecture)
    except KeyError as error:
        raise StageError(f"{path}: has no {error.args[0]}, without which the model cannot be built") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StageError(f"{path}: describes no model: {field or 'it'}: {first['msg']}") from None
    except (ValueError, TypeError) as error:
        raise StageError(f"{path}: {error}") from None


def describe_architecture(meta: Meta, tensors: Mapping[str, Tensor]) -> Architecture:
    """Shapes and constants."""
    if "architecture" in meta:
        return _ARCHITECTURE.validate_python(meta["architecture"])
    config = meta["model_config"]
    if "S" in str(config.get("window_pattern", "")).upper():
        raise ValueError(f"window_pattern {config['window_pattern']} has sliding windows, of newer nanochat")
    mlp = next((mlp for mlp, name in MLP_MATRICES.items() if name in tensors), None)
    if mlp is None:
        raise ValueError("its weights have neither mlp.w_gate nor mlp.c_fc in their first layer")
    return Architecture(
        depth=config["n_layer"],
        width=config["n_embd"],
        heads=config["n_head"],
        key_value_heads=config["n_kv_head"],
        head_width=config["n_embd"] // config["n_head"],
        mlp=mlp,
        mlp_width=tensors[MLP_MATRICES[mlp]].shape[0],
        vocabulary_size=config["vocab_size"],
        sequence_length=config["sequence_len"],
        rope_base=100_000.0 if mlp == "swiglu" else 10_000.0,
        logit_softcap=LOGIT_SOFTCAP,
        norm_epsilon=NORM_EPSILON,
        normalize_embedding=mlp == "relu2",
    )


def told_use_rope(meta: Meta) -> bool | None:
    """What the meta file says, at the top or where base models of the seed have it; None when it says nothing."""
    told = meta.get("use_rope", (meta.get("loop_state") or {}).get("use_rope"))
    return told if isinstance(told, bool) else None


def decide_use_rope(meta: Meta, chosen: bool | None) -> bool:
    """The meta file's word, or `chosen`; raises `ValueError` when both are silent or say different things."""
    told = told_use_rope(meta)
    if told is None and chosen is None:
        raise ValueError(
            "does not say whether the model uses RoPE, and a wrong guess is silent; say --use-rope or --no-rope"
        )
    if None not in (told, chosen) and told != chosen:
        raise ValueError(f"says that use_rope is {str(told).lower()}; leave the option out")
    return bool(chosen if told is None else told)


def _describe(
    meta: Meta, tensors: Mapping[str, Tensor], identity: AdoptedIdentity, architecture: Architecture
) -> ModelState:
    flags = meta.get("user_config") or {}
    step = int(meta["step"])
    batch_tokens = _positive(meta.get("total_batch_size"), flags.get("total_batch_size")) or REFERENCE_BATCH_TOKENS
    narrow = tensors["transformer.wte.weight"].dtype == bfloat16
    return _STATE.validate_python(
        {
            "phase": identity.phase,
            "step": step,
            "steps": max(step, _positive(flags.get("num_iterations"))),
            "use_rope": decide_use_rope(meta, identity.use_rope),
            "direction": meta.get("direction", "forward"),
            "sequence_length": _positive(meta.get("max_seq_len")) or architecture.sequence_length,
            "batch_tokens": batch_tokens,
            "tokens_seen": _positive(meta.get("tokens_seen")) or step * batch_tokens,
            "precision": flags.get("precision") or ("bf16" if narrow else "fp32"),
            "seed": flags.get("seed", 42),
            "architecture": architecture,
            "optimization": _optimization(meta, architecture, batch_tokens),
        }
    )


def _optimization(meta: Meta, architecture: Architecture, batch_tokens: int) -> Optimization:
    if "optimization" in meta:
        return _OPTIMIZATION.validate_python(meta["optimization"])
    return family_optimization(architecture, batch_tokens)


def _positive(*values: object) -> int:
    """The first number above 0; nanochat writes -1 for what it works out itself. 0 when there is none."""
    return next((int(value) for value in values if isinstance(value, (int, float)) and value > 0), 0)
