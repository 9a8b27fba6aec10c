"""Writing a model as `Qwen3ForCausalLM`, for engines that run no code from a repository."""

from __future__ import annotations

from core.stages.kind import StageKind
from tasks.export_hf import summary
from tasks.launch import Launcher
from tasks.stage_task import stage_task

export_twin = stage_task(StageKind.EXPORT_TWIN, launcher=Launcher.PROCESS, retries=1, summary=summary)
