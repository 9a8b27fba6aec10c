"""The shapes and constants of a model, and what its positions mean to whoever runs it."""

from __future__ import annotations

from core.publishing.card_markdown import table
from core.publishing.deliverables import Deliverable
from core.stages.kind import StageKind

MLPS = {"swiglu": "SwiGLU", "relu2": "ReLU²"}


def architecture_section(model: Deliverable) -> str:
    """A table."""
    architecture = model.architecture
    cap = f"{architecture.logit_softcap:g}"
    norms = f"RMSNorm without weights, epsilon {architecture.norm_epsilon:g}; queries and keys normed per head"
    rows = [
        ("parameters", f"{architecture.total_parameters:,} ({architecture.scaling_parameters:,} matrices and lm_head)"),
        ("layers x width", f"{architecture.depth} x {architecture.width:,}"),
        (
            "heads (key/value) x width",
            f"{architecture.heads} ({architecture.key_value_heads}) x {architecture.head_width}",
        ),
        ("MLP", f"{MLPS[architecture.mlp]}, {architecture.mlp_width:,} wide"),
        ("vocabulary", f"{architecture.vocabulary_size:,}, input and output tables untied"),
        ("positions", f"RoPE, theta {architecture.rope_base:,.0f}" if model.meta["use_rope"] else "none"),
        ("norms", norms + ("; embedding normed" if architecture.normalize_embedding else "")),
        ("logits", f"{cap} tanh(z / {cap})"),
        ("biases", "none"),
    ]
    return table(("", ""), rows)


def rope_schedule(model: Deliverable) -> str:
    """How the model came to have, or not to have, rotary positions."""
    if model.meta["use_rope"]:
        return "RoPE throughout"
    dropped = model.lineage.of_kind(StageKind.RECALIBRATE)
    if not dropped:
        return "no RoPE at its end"
    first, steps = (dropped[0].identity[name] for name in ("first_step", "steps"))
    return f"RoPE for the first {first / steps:.0%} of pretraining (steps 0 to {first - 1:,}), none after"


def rope_sentence(model: Deliverable) -> str:
    """What that means for whoever runs the model."""
    length = model.meta["max_seq_len"]
    if model.meta["use_rope"]:
        return f"Positions are rotary (RoPE); it was last trained on sequences of {length:,} tokens."
    return (
        f"It has no positional embedding (`use_rope` is false; {rope_schedule(model)}): code that rotates queries "
        f"and keys all the same gives wrong answers. It was last trained on sequences of {length:,} tokens."
    )
