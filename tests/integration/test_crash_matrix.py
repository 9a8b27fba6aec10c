"""The most telling rows of the crash matrix, played as `python -m benchmarks.crash_matrix` plays all of them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.crash_matrix.case import Result
from benchmarks.crash_matrix.cases import all_cases
from benchmarks.crash_matrix.play import play
from benchmarks.crash_matrix.preparation import prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("crash matrix")]

KILLED = "SIGKILL of all processes of one run at once, folder, 2"
ZOMBIE = "zombie amid a checkpoint, continued while another run trains, folder, 2"
UNCOMMITTED = "SIGKILL of the run between the last file and the manifest, folder, 1"


@pytest.fixture(scope="module")
def results(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Result]:
    folder = tmp_path_factory.mktemp("crash")
    prepared = prepare(folder, prefect_server)
    cases = [case for case in all_cases() if case.name in (KILLED, ZOMBIE, UNCOMMITTED)]
    with ThreadPoolExecutor(len(cases)) as pool:
        played = pool.map(lambda case: play(case, prepared, folder / str(cases.index(case))), cases)
        return {result.name: result for result in played}


@pytest.mark.parametrize(
    ("name", "how"),
    [(KILLED, "taken over by another run"), (ZOMBIE, "taken over by another run"), (UNCOMMITTED, "same command")],
    ids=["killed", "stopped and continued", "killed before the commit"],
)
def test_every_invariant_holds_whatever_dies(results: Mapping[str, Result], name: str, how: str) -> None:
    result = results[name]
    assert not result.wrong
    assert result.resumed.startswith(how)
    assert int(result.step.split(",")[0]) > 25  # where the stage begins
    assert result.attempts == 2
