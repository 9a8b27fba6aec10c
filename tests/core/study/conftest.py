"""The stage on evaluations that were written by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_evaluations import WrittenModel, written

from core.stages.context import StageContext
from core.stages.identity import StudyIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.study import stage

Studied = Callable[..., Path]


@pytest.fixture
def studied(tmp_path: Path) -> Studied:
    """Make the study of some written models; the folder of what it left."""

    def make(*models: WrittenModel) -> Path:
        number = len(list(tmp_path.glob("output-*")))
        output, scratch = tmp_path / f"output-{number}", tmp_path / "scratch"
        output.mkdir()
        context: StageContext[Any] = StageContext(
            name="toy",
            key="0" * 64,
            identity=StudyIdentity(
                tags=("toy",), models=tuple(model.studied for model in models), resamples=400, seed=42
            ),
            inputs=written(tmp_path / f"models-{number}", models),
            output=output,
            scratch=scratch,
            checkpoints=None,  # type: ignore[arg-type]
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )
        stage.produce(context)
        return output

    return make


def document(folder: Path) -> dict[str, Any]:
    """`study.json`."""
    found: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return found
