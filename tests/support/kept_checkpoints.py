"""Checkpoints of a stage in a folder, which another try of it finds; and a stage that is killed while it saves one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from artifacts.progress import SavedCheckpoint


@dataclass
class KeptCheckpoints:
    """Checkpoints in a folder, as the store keeps them; the stage is killed when `most` are saved."""

    folder: Path
    most: int = 1_000_000

    def add(self, step: int, directory: Path) -> None:
        shutil.copytree(directory, self.folder / f"{step:08d}")
        if len(list(self.folder.iterdir())) == self.most:
            raise KeyboardInterrupt

    def every(self) -> list[SavedCheckpoint]:
        return [SavedCheckpoint(int(path.name), path) for path in sorted(self.folder.iterdir())]
