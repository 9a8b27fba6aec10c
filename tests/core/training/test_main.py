"""`torchrun -m core.training SPEC`: ranks join, make the stage, and report their outcome and exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artifacts.encoding import canonical
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind
from core.stages.runtime import Runtime
from core.stages.specification import Outcome, Specification, read_outcomes

FINALIZED = """
import atexit, pathlib, sys
if "core.training" in sys.orig_argv and "torch.distributed.run" not in sys.orig_argv:
    atexit.register(pathlib.Path(__file__).with_name("finalized").touch)
"""

Start = Callable[..., tuple[int, list[Outcome]]]


@pytest.fixture
def start(tmp_path: Path, inputs: Any, runtime: Runtime) -> Start:
    """`start(identity, ranks)` runs the entry point as the launcher does; returns exit code and outcomes."""

    def run(identity: TrainingIdentity, ranks: int) -> tuple[int, list[Outcome]]:
        (tmp_path / "output").mkdir()
        (tmp_path / "sitecustomize.py").write_text(FINALIZED)  # every rank runs it as it starts
        specification = Specification(
            kind=StageKind.PRETRAIN,
            name="toy",
            key="0" * 64,
            identity=canonical(identity),
            inputs={role: str(folder) for role, folder in inputs.pretraining.items()},
            output=str(tmp_path / "output"),
            scratch=str(tmp_path / "scratch"),
            store=f"file://{tmp_path}/store",
            token=1,
            runtime=runtime,
        )
        specification.write(tmp_path / "specification.json")
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
        command = [sys.executable, *torchrun, "-m", "core.training", str(tmp_path / "specification.json")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=540)
        return done.returncode, read_outcomes(tmp_path)

    return run


@pytest.mark.slow
def test_two_ranks_finish_and_only_the_first_writes_the_artifact(
    start: Start, segment: TrainingIdentity, tmp_path: Path
) -> None:
    code, outcomes = start(replace(segment, end_step=2), ranks=2)
    assert code == 0
    assert sorted((outcome.rank, outcome.status) for outcome in outcomes) == [(0, "finished"), (1, "finished")]
    assert (tmp_path / "output" / "model.safetensors").is_file()
    assert not list((tmp_path / "scratch").rglob("model.safetensors"))
    assert not (tmp_path / "finalized").exists(), "a rank let Python take down what gloo's threads may still use"


def test_a_stage_that_cannot_be_made_ends_with_one_line_and_a_failing_exit_code(
    start: Start, segment: TrainingIdentity
) -> None:
    odd = replace(segment.architecture, mlp_width=72)
    code, (outcome,) = start(replace(segment, architecture=odd, precision="fp8"), ranks=1)
    assert (code, outcome.status) == (1, "failed")
    assert outcome.error.startswith("precision fp8: h.0.mlp.w_gate.weight is 72 x 64")
