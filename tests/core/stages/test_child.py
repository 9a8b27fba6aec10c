"""How a stage process ends is told in its outcome, whatever its producer raises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.encoding import canonical
from core.planning.pretraining import corpus_stage
from core.recipes.table import recipes
from core.stages.child import FAILED, FINISHED, RESUMABLE
from core.stages.runtime import Runtime
from core.stages.specification import Outcome, Specification, read_outcomes

# A stage process whose producer is the body given to it.
PROGRAM = """
import sys, types
from pathlib import Path
from artifacts.errors import LeaseLost, StoreUnavailable
from core.stages.child import run_child
from core.stages.context import Interrupted, StageError, StageUnavailable
from core.stages.kind import DEFINITIONS, Definition, Resource, StageKind

def produce(context):
    {body}
    return {{"documents": 1}}

sys.modules["given"] = types.SimpleNamespace(produce=produce)
DEFINITIONS[StageKind.CORPUS] = Definition(1, Resource.IO, "given:produce")
sys.exit(run_child(Path(sys.argv[1])))
"""


def run(body: str, folder: Path) -> tuple[int, Outcome, str]:
    """The exit code, the outcome and the output of a stage process."""
    stage = corpus_stage(recipes()["tiny"], 0, 4)
    identity = canonical(stage.identity)
    assert isinstance(identity, dict)
    Specification(
        kind=stage.kind,
        name=stage.name,
        key=stage.key,
        identity=identity,
        inputs={},
        output=str(folder / "output"),
        scratch=str(folder / "scratch"),
        store=str(folder / "store"),
        token=1,
        runtime=Runtime(),
    ).write(folder / "specification.json")
    command = [sys.executable, "-c", PROGRAM.format(body=body), str(folder / "specification.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (outcome,) = read_outcomes(folder)
    return done.returncode, outcome, done.stderr


def test_a_finished_stage_tells_its_metrics(tmp_path: Path) -> None:
    code, outcome, _ = run("pass", tmp_path)
    assert (code, outcome.status, outcome.metrics) == (FINISHED, "finished", {"documents": 1})


@pytest.mark.parametrize("kind", ["Interrupted", "StageUnavailable", "StoreUnavailable", "LeaseLost"])
def test_what_may_pass_is_an_interruption(kind: str, tmp_path: Path) -> None:
    code, outcome, errors = run(f"raise {kind}('no answer')", tmp_path)
    assert (code, outcome.status, outcome.error) == (RESUMABLE, "interrupted", "no answer")
    assert errors == ""


def test_what_a_user_must_correct_is_a_failure_in_one_line(tmp_path: Path) -> None:
    code, outcome, errors = run("raise StageError('the recipe asks for too much')", tmp_path)
    assert (code, outcome.status, outcome.error) == (FAILED, "failed", "the recipe asks for too much")
    assert errors == ""


def test_an_unexpected_error_is_a_failure_and_its_traceback_is_in_the_log_without_secrets(tmp_path: Path) -> None:
    code, outcome, errors = run("raise KeyError('https://me:my-password@host/path')", tmp_path)
    assert (code, outcome.status) == (FAILED, "failed")
    assert "Traceback" in errors
    assert "my-password" not in errors


@pytest.mark.parametrize(
    "error",
    [
        "torch.distributed.DistBackendError('NCCL error: remote process exited')",
        "RuntimeError('[/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:39828: GLHF!')",
    ],
)
def test_the_loss_of_another_rank_is_an_interruption_in_plain_words(error: str, tmp_path: Path) -> None:
    code, outcome, errors = run(f"import torch; raise {error}", tmp_path)
    assert (code, outcome.status) == (RESUMABLE, "interrupted")
    assert outcome.error == "another rank went away while rank 0 waited for it"
    assert error.partition("'")[2].rstrip("')") in errors
