"""Training the vocabulary: a few CPU seconds or minutes, deterministic."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    compression = metrics.get("bytes_per_token")
    news = f", {compression['news']:.2f} bytes a token of news" if isinstance(compression, Mapping) else ""
    return f"{number(metrics, 'vocabulary_size')} tokens{news}"


tokenizer = stage_task(StageKind.TOKENIZER, launcher=Launcher.PROCESS, retries=1, summary=summary)
