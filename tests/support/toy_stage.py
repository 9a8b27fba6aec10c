"""A stage on a toy model in folders: what it is told, and checkpoints that another try of it finds."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from artifacts.progress import SavedCheckpoint
from core.model.checkpoint import ModelState, Phase, save
from core.model.transformer import Transformer
from core.recipes.recipe import Direction
from core.recipes.tiny import OPTIMIZATION
from core.stages.context import StageContext
from core.stages.report import Reporter
from core.stages.runtime import Runtime

UNDISTURBED = 1_000_000

IdentityT = TypeVar("IdentityT")


@dataclass
class KeptCheckpoints:
    """Checkpoints in a folder, as the store keeps them; the stage is killed when `most` are saved."""

    folder: Path
    most: int = UNDISTURBED

    def add(self, step: int, directory: Path) -> None:
        shutil.copytree(directory, self.folder / f"{step:08d}")
        if len(list(self.folder.iterdir())) == self.most:
            raise KeyboardInterrupt

    def every(self) -> list[SavedCheckpoint]:
        return [SavedCheckpoint(int(path.name), path) for path in sorted(self.folder.iterdir())]


def toy_context(root: Path, identity: IdentityT, inputs: Mapping[str, Path], most: int) -> StageContext[IdentityT]:
    """A new output and scratch folder each time, the same checkpoints; killed at `most`, it saves whatever it can."""
    number = len(list(root.glob("output-*")))
    output, scratch, kept = root / f"output-{number}", root / f"scratch-{number}", root / "checkpoints"
    for folder in (output, scratch, kept):
        folder.mkdir(exist_ok=True)
    return StageContext(
        name="toy",
        key="0" * 64,
        identity=identity,
        inputs=inputs,
        output=output,
        scratch=scratch,
        checkpoints=KeptCheckpoints(kept, most),  # type: ignore[arg-type]
        report=Reporter(io.StringIO()),
        runtime=replace(Runtime(), checkpoint_seconds=600.0 if most == UNDISTURBED else 0.0),
    )


def write_toy_model(folder: Path, model: Transformer, phase: Phase = "base", direction: Direction = "forward") -> None:
    """The artifact of a model that was trained for 7 of 9 steps."""
    folder.mkdir(exist_ok=True)
    length = model.architecture.sequence_length
    state = ModelState(
        phase=phase,
        step=7,
        steps=9,
        use_rope=model.use_rope,
        direction=direction,
        sequence_length=length,
        batch_tokens=length,
        tokens_seen=700,
        precision="fp32",
        seed=1,
        architecture=model.architecture,
        optimization=OPTIMIZATION,
    )
    save(folder, state, model.state_dict())
