"""Which files of an input a stage does not read: they need no download, and may be most of its bytes."""

from __future__ import annotations

from core.stages.kind import StageKind

FOR_TRAINING = frozenset({"optimizer.safetensors"})  # of a model, to train it further: larger than its weights

_ONLY_USE_THE_MODEL = frozenset(
    {StageKind.EVALUATE, StageKind.CORE_METRIC, StageKind.LONG_CONTEXT, StageKind.EXPORT_HF, StageKind.EXPORT_TWIN}
)
_MODELS = ("model", "before_drop")


def unread_files(kind: StageKind, role: str) -> frozenset[str]:
    """Names of files that a stage of `kind` has no use for in its input `role`; there need be none of them."""
    return FOR_TRAINING if kind in _ONLY_USE_THE_MODEL and role in _MODELS else frozenset()
