"""One export in a process of its own: `run_export.py MODULE PHASE MODEL TOKENIZER OUTPUT`."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

from core.stages.context import Metrics, SavedCheckpoint, StageContext
from core.stages.identity import ExportIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime


class NoCheckpoints:
    """Exports are short: none of them saves anything on its way."""

    def save(self, step: int, directory: Path) -> None:
        raise AssertionError("an export saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        return None

    def discard(self) -> None:
        raise AssertionError("an export discarded a checkpoint")


def make(module: str, identity: ExportIdentity, model: Path, tokenizer: Path, output: Path, **further: Path) -> Metrics:
    """Run the producer of `module` into the new folder `output`; `further` inputs by role."""
    scratch = output.with_name(f"{output.name}-scratch")
    output.mkdir()
    scratch.mkdir()
    context = StageContext(
        name="tiny-base",
        key="0" * 64,
        identity=identity,
        inputs={"model": model, "tokenizer": tokenizer, **further},
        output=output,
        scratch=scratch,
        checkpoints=NoCheckpoints(),
        report=Reporter(io.StringIO()),
        runtime=Runtime(),
    )
    return importlib.import_module(module).produce(context)


if __name__ == "__main__":
    module, phase, *folders = sys.argv[1:]
    make(module, ExportIdentity(format_version=1, phase=phase), *map(Path, folders))
