"""Run one training stage from a JSON description, in this process, alone or as a rank of torchrun.

    python train_stage.py DESCRIPTION.json
    torchrun --nproc-per-node=2 train_stage.py DESCRIPTION.json

Exits 0 when finished, 143 when interrupted, 1 with the error on the last line of stderr.
"""

from __future__ import annotations

import importlib
import json
import resource
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pydantic import TypeAdapter

from artifacts.encoding import canonical
from artifacts.errors import StoreUnavailable
from artifacts.progress import SavedCheckpoint
from core.stages.context import Interrupted, StageContext, StageError
from core.stages.identity import FinetuneIdentity, TrainingIdentity
from core.stages.parent_death import die_with_parent
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.training.distributed import current_world, process_group


@dataclass
class FolderCheckpoints:
    """Checkpoints in a local folder, one subfolder a step; `away`: none can be stored."""

    folder: Path
    away: bool = False
    saved: list[int] = field(default_factory=list)

    def save(self, step: int, directory: Path) -> None:
        if self.away:
            raise StoreUnavailable("the bucket gives no answer")
        shutil.copytree(directory, self.folder / f"{step:06d}")
        self.saved.append(step)

    def newest(self) -> SavedCheckpoint | None:
        found = sorted(self.folder.glob("*"))
        return SavedCheckpoint(int(found[-1].name), found[-1]) if found else None


class SignallingReporter(Reporter):
    """Sends this process a signal, twice, while step number `at` is being counted, 0: before the first of a resume."""

    def __init__(self, stream: TextIO, at: int | None, number: int) -> None:
        super().__init__(stream, every=0.0)
        self._at, self._number = at, number

    def progress(self, done: float, total: float, unit: str, text: str = "") -> None:
        super().progress(done, total, unit, text)
        if done == self._at:
            self._send()

    def log(self, line: str) -> None:
        super().log(line)
        if self._at == 0 and line.startswith("continuing at step"):
            self._send()

    def _send(self) -> None:
        signal.raise_signal(self._number)
        signal.raise_signal(self._number)


@dataclass(frozen=True, kw_only=True)
class Description:
    """One attempt at one stage."""

    producer: str  # module below core.training
    identity: TrainingIdentity | FinetuneIdentity
    inputs: dict[str, Path]
    root: Path  # output, scratch and checkpoints go below
    runtime: Runtime
    signal_at: int | None = None  # steps of this stage after which the process signals itself
    signal_number: int = signal.SIGTERM
    memory: int | None = None  # bytes that this process may map from here on
    store_away: bool = False  # when a checkpoint is to be stored

    def run(self, stream: TextIO) -> dict[str, Any]:
        """Make the stage; rank 0 writes `root/output`, whatever an earlier attempt left there is removed."""
        rank = current_world().rank
        if self.memory is not None:
            mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (mapped + self.memory, resource.RLIM_INFINITY))
        output, scratch = self.root / f"output{rank or ''}", self.root / f"scratch{rank}"
        for folder in (output, scratch):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        context = StageContext(
            name="toy",
            key="0" * 64,
            identity=self.identity,
            inputs=self.inputs,
            output=output,
            scratch=scratch,
            checkpoints=FolderCheckpoints(self.root / "checkpoints", self.store_away),
            report=SignallingReporter(stream, self.signal_at if rank == 0 else None, self.signal_number),
            runtime=self.runtime,
        )
        return dict(importlib.import_module(f"core.training.{self.producer}").produce(context))

    def write(self, path: Path) -> None:
        """Write as JSON for another process."""
        path.write_text(TypeAdapter(Description).dump_json(self).decode())


def main(path: Path) -> int:
    die_with_parent()  # a test that gives up kills torchrun only
    description = TypeAdapter(Description).validate_json(path.read_bytes())
    try:
        with process_group() as world:
            metrics = description.run(sys.stdout)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 143
    except StageError as error:
        print(error, file=sys.stderr)
        return 1
    if world.leads:
        (description.root / "metrics.json").write_text(json.dumps(canonical(metrics)))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
