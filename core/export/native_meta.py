"""`meta_<step>.json` of a nanochat checkpoint: what its loader needs to build the model, and how it was trained.

`model_config` has exactly the six fields that nanochat's GPTConfig takes, because it refuses others; everything else
about the shape is in `architecture`. `use_rope` stands where the seed writes it for base models (`loop_state`) and at
the top, in fine-tuned models too: a loader that finds it nowhere assumes True and silently rotates a DroPE model.

Resuming in nanochat reads `dataloader_state_dict` and `loop_state`, and stops where one is missing. The former is null,
which makes its loader begin at the first file: rows were packed in another order, so no place in its files is right.

Losses, measurements and time are those of every segment of the model's phase, as nanochat, which knows no segments,
has them: from the lineage, and where that knows of none (an adopted model) from the trace beside the model.
"""

from __future__ import annotations

from math import sqrt

from artifacts.encoding import canonical
from core.export.source import LOSSES, METRICS, Source
from core.lineage.lineage import Lineage
from core.model.checkpoint import ModelState
from core.recipes.optimization import REFERENCE_BATCH_TOKENS, REFERENCE_WIDTH

DEVICE_BATCH_ROWS = 16  # the seed's; a fine-tune in nanochat inherits it, training here does not depend on it
LOSS_MEMORY = 0.9  # of the running mean that nanochat reports


def native_meta(source: Source, lineage: Lineage) -> dict[str, object]:
    """The document, for `json.dump`."""
    state = source.state
    metrics, losses = (phase_records(source, lineage, file) for file in (METRICS, LOSSES))
    measured = [record["validation_bpb"] for record in metrics if "validation_bpb" in record]
    rates = [record["tokens_per_second"] for record in metrics if record.get("tokens_per_second")]
    device_rows = min(DEVICE_BATCH_ROWS, state.batch_tokens // state.sequence_length)
    meta: dict[str, object] = {
        "step": state.step,
        "val_bpb": measured[-1] if measured else None,
        "model_config": model_config(state),
        "architecture": canonical(state.architecture),
        "optimization": canonical(state.optimization),
        "phase": state.phase,
        "use_rope": state.use_rope,
        "user_config": user_config(state, device_rows),
        "device_batch_size": device_rows,
        "max_seq_len": state.sequence_length,
        "total_batch_size": state.batch_tokens,
        "tokens_seen": state.tokens_seen,
        "dataloader_state_dict": None,
        "loop_state": {
            "min_val_bpb": min(measured, default=None),
            "smooth_train_loss": smooth_loss([record["loss"] for record in losses]),
            "total_training_time": sum(state.batch_tokens / rate for rate in rates),
            "timed_steps": len(rates),  # that the time is of: fewer than `step` where an earlier segment is gone
            "use_rope": state.use_rope,
        },
    }
    if state.direction != "forward":
        meta["direction"] = state.direction
    return meta


def phase_records(source: Source, lineage: Lineage, file: str) -> list[dict[str, float]]:
    """The lines of one trace, of all segments of the model's phase, in the order of training."""
    segments = lineage.of_phase(source.state.phase)
    return [record for stage in segments for record in lineage.trace(stage, file)] or source.records(file)


def model_config(state: ModelState) -> dict[str, int]:
    """The fields of nanochat's GPTConfig; the length is the one last trained at."""
    architecture = state.architecture
    return {
        "sequence_len": state.sequence_length,
        "vocab_size": architecture.vocabulary_size,
        "n_layer": architecture.depth,
        "n_head": architecture.heads,
        "n_kv_head": architecture.key_value_heads,
        "n_embd": architecture.width,
    }


def user_config(state: ModelState, device_rows: int) -> dict[str, object]:
    """The flags with which nanochat arrives at this training's rates: it multiplies them by its scaling rules itself.

    (n/768)^-1/2 on those of the embedding tables; in pretraining sqrt(B/2^19) on all (nanochat 4e1694c).
    """
    optimization = state.optimization
    batch_scale = sqrt(state.batch_tokens / REFERENCE_BATCH_TOKENS) if state.phase == "base" else 1.0
    table_scale = batch_scale * (state.architecture.width / REFERENCE_WIDTH) ** -0.5
    return {
        "depth": state.architecture.depth,
        "head_dim": state.architecture.head_width,
        "max_seq_len": state.sequence_length,
        "num_iterations": state.steps,
        "device_batch_size": device_rows,
        "total_batch_size": state.batch_tokens,
        "matrix_lr": optimization.matrices.peak_rate / batch_scale,
        "embedding_lr": optimization.embedding.peak_rate / table_scale,
        "unembedding_lr": optimization.unembedding.peak_rate / table_scale,
        "warmup_steps": optimization.schedule.warmup_steps,
        "warmdown_ratio": optimization.schedule.warmdown_fraction,
        "final_lr_frac": optimization.schedule.final_fraction,
        "precision": state.precision,
        "seed": state.seed,
    }


def smooth_loss(losses: list[float]) -> float | None:
    """Exponential running mean of the losses, without the bias of its start; None without a loss."""
    mean = 0.0
    for loss in losses:
        mean = LOSS_MEMORY * mean + (1 - LOSS_MEMORY) * loss
    return mean / (1 - LOSS_MEMORY ** len(losses)) if losses else None
