"""Several machines find each other: what must be set, who takes which place, who may not take part."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import StoreError
from tasks.join import join_launches, meeting_folder
from tasks.machines import Machines, Posted, launch_folder, machines_from_environment, posted_in, take_place


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(nodes=3, rendezvous="head.cluster:29400", folder=tmp_path / "machines")


def posted(machines: Machines, folder: Path, said: list[str]) -> Posted:
    return Posted(machines, folder, 8, folder / "stage.log", said.append)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"NODES": "two"}, "MINISERIES_NODES='two' is no count"),
        ({"NODES": "2", "RENDEZVOUS": "head:29400"}, "name it in MINISERIES_CACHE"),
        ({"NODES": "2", "CACHE": "/shared"}, "needs MINISERIES_RENDEZVOUS=host:port"),
        ({"NODES": "2", "CACHE": "/shared", "RENDEZVOUS": "head"}, "MINISERIES_RENDEZVOUS='head' is no address"),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    settings: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NODES", "CACHE", "RENDEZVOUS"):
        monkeypatch.delenv(f"MINISERIES_{name}", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"MINISERIES_{name}", value)
    with pytest.raises(StoreError, match=complaint):
        machines_from_environment(1)


def test_machines_are_not_shared_between_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_NODES", "2")
    monkeypatch.setenv("MINISERIES_CACHE", "/shared")
    monkeypatch.setenv("MINISERIES_RENDEZVOUS", "head:29400")
    assert machines_from_environment(1) is not None
    with pytest.raises(StoreError, match="MINISERIES_GPU_JOBS=2"):
        machines_from_environment(2)


def test_each_place_is_taken_once_and_a_launch_that_is_over_has_none(machines: Machines) -> None:
    said: list[str] = []
    with launch_folder(machines) as folder:
        launch = posted(machines, folder, said)
        assert launch.place.index == 0
        assert posted_in(machines.meeting) == [folder]
        taken = [take_place(folder) for _ in range(3)]
        assert [found[0].index for found in taken if found is not None] == [1, 2]
        launch.look()
    assert not posted_in(machines.meeting)
    assert take_place(folder) is None
    assert said[0].endswith(f"miniseries join {machines.meeting}")
    assert said[1:] == ["2 of 3 machines are there", "3 of 3 machines are there"]


def test_what_other_machines_print_comes_into_the_log_of_the_stage_in_whole_lines(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.machines.LOOK_SECONDS", 0.0)
    with launch_folder(machines) as folder:
        launch = posted(machines, folder, [])
        found = take_place(folder)
        assert found is not None
        other, log = found[1], folder / "stage.log"
        other.write_text("one\ntw")
        launch.look()
        assert log.read_text() == "one\n"
        other.write_text("one\ntwo\n")
        launch.look()
        assert log.read_text() == "one\ntwo\n"


def test_machines_that_did_not_come_in_time_are_counted(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    with launch_folder(machines) as folder:
        launch = posted(machines, folder, [])
        take_place(folder)
        launch.look()
        launch.check_complete()  # something else ended it, long before
        monkeypatch.setattr("tasks.machines.JOIN_SECONDS", 0)
        with pytest.raises(StoreError, match="only 2 of 3 machines came"):
            launch.check_complete()


def test_a_machine_with_another_torch_may_not_take_part(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    with launch_folder(machines) as folder:
        posted(machines, folder, [])
        monkeypatch.setattr("tasks.machines.metadata.version", lambda _name: "0.1")
        with pytest.raises(StoreError, match=r"head\.cluster:29400 has .*, this one miniseries 0\.1, torch 0\.1"):
            take_place(folder)


def test_two_runs_do_not_gather_at_one_rendezvous(machines: Machines) -> None:
    refused = pytest.raises(StoreError, match=r"another run gathers machines at head\.cluster:29400")
    with launch_folder(machines), refused, launch_folder(machines):
        pass


def test_what_a_killed_run_left_cannot_be_joined(machines: Machines) -> None:
    left = machines.meeting / "launch-left"
    left.mkdir(parents=True)
    (left / "launch.json").write_text("{}")
    with launch_folder(machines):
        assert not posted_in(machines.meeting)


def test_whom_to_join_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="which machine is to be joined"):
        meeting_folder(None)
    with pytest.raises(StoreError, match="is no folder that this machine sees"):
        join_launches(tmp_path / "elsewhere", 1.0, print)
