"""One producer in a process of its own: `run_stage.py MODULE IDENTITY.json OUTPUT SCRATCH [ROLE=FOLDER ...]`.

Exit code 1 and the error on standard error for a `StageError`, so that tests see what a user would.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from core.stages.context import Metrics, SavedCheckpoint, StageContext, StageError
from core.stages.identity import CorpusIdentity, PackIdentity, TokenizerIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

IDENTITIES = {
    "core.data.corpus.collect": CorpusIdentity,
    "core.data.tokenizer_training": TokenizerIdentity,
    "core.data.pack": PackIdentity,
}


class NoCheckpoints:
    """Data stages are short: none of them saves anything on its way, only what is done when one fails."""

    def save(self, step: int, directory: Path) -> None:
        raise AssertionError("a data stage saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        return None

    def add(self, step: int, directory: Path) -> None:
        """Nobody continues these."""

    def every(self) -> list[SavedCheckpoint]:
        return []


def make(
    module: str, identity: object, output: Path, scratch: Path, inputs: Mapping[str, Path], log: TextIO
) -> Metrics:
    """Run the producer of `module` on empty folders `output` and `scratch`."""
    output.mkdir()
    scratch.mkdir()
    context: StageContext[Any] = StageContext(
        name=module,
        key="0" * 64,
        identity=identity,
        inputs=inputs,
        output=output,
        scratch=scratch,
        checkpoints=NoCheckpoints(),
        report=Reporter(log),
        runtime=Runtime(),
    )
    return importlib.import_module(module).produce(context)


def main(module: str, identity: str, output: str, scratch: str, *inputs: str) -> int:
    """Parse the command line and make the stage."""
    fields = json.loads(Path(identity).read_text())
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    roles = {role: Path(folder) for role, folder in (pair.split("=", 1) for pair in inputs)}
    try:
        make(module, IDENTITIES[module](**fields), Path(output), Path(scratch), roles, sys.stdout)
    except StageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
