"""The most telling rows of the crash matrix, played as `python -m benchmarks.crash_matrix` plays all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.crash_matrix.cases import all_cases
from benchmarks.crash_matrix.play import play
from benchmarks.crash_matrix.preparation import Prepared, prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]  # the group that shares the Prefect server
CASES = {case.name: case for case in all_cases()}


@pytest.fixture(scope="module")
def prepared(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("crash"), prefect_server)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("SIGKILL of all processes of one run at once, folder, 2", "taken over by another run"),
        ("zombie amid a checkpoint, continued while another run trains, folder, 2", "taken over by another run"),
        ("SIGKILL of the run between the last file and the manifest, folder, 1", "same command"),
    ],
    ids=["killed", "stopped and continued", "killed before the commit"],
)
def test_every_invariant_holds_whatever_dies(name: str, how: str, prepared: Prepared, tmp_path: Path) -> None:
    result = play(CASES[name], prepared, tmp_path / "case")
    assert not result.wrong
    assert result.resumed.startswith(how)
    assert int(result.step.split(",")[0]) > 25  # where the stage begins
    assert result.attempts == 2
