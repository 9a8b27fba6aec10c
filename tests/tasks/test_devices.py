"""GPUs shared out between stages that run at once, told by the environment: no GPU is needed to test this."""

from __future__ import annotations

import pytest

from tasks.devices import VISIBLE, gpus_of_one, share
from tasks.settings import SettingsError, settings_from_environment


@pytest.mark.parametrize(
    ("visible", "jobs", "shares"),
    [
        ("0,1,2,3,4,5,6,7", 2, ["0,1,2,3", "4,5,6,7"]),
        ("2, 5, 7", 3, ["2", "5", "7"]),
        ("0,1,2,3,4,5,6,7", 3, ["0,1", "2,3", "4,5"]),  # equal worlds; two GPUs stay idle
        ("GPU-a", 2, ["GPU-a", "GPU-a"]),  # fewer than jobs: they share
        ("0,1", 1, [None]),
        ("", 2, [None, None]),
    ],
)
def test_each_of_several_stages_gets_an_equal_share(
    visible: str, jobs: int, shares: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    assert [share(slot, jobs) for slot in range(jobs)] == shares


def test_a_stage_has_a_rank_for_each_gpu_of_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,2,3,4,5,6,7")
    monkeypatch.setenv("MINISERIES_GPU_JOBS", "2")
    monkeypatch.delenv("MINISERIES_PROCESSES", raising=False)
    assert (gpus_of_one(2), settings_from_environment().runtime.processes) == (4, 4)
    monkeypatch.setenv("MINISERIES_PROCESSES", "8")
    with pytest.raises(SettingsError, match="MINISERIES_PROCESSES=8, but with MINISERIES_GPU_JOBS=2 a stage gets 4"):
        settings_from_environment()
