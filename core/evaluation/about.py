"""What every evaluation says of the model that it measured, under the same names in each of their JSON files."""

from __future__ import annotations

from core.model.checkpoint import ModelState


def about(state: ModelState) -> dict[str, object]:
    """Which model it is, as far as its own state tells."""
    return {
        "phase": state.phase,
        "use_rope": state.use_rope,
        "direction": state.direction,
        "step": state.step,
        "tokens_seen": state.tokens_seen,
    }
