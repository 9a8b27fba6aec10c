"""The judge of the crash matrix: each broken invariant is told, and an orderly case passes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store
from benchmarks.crash_matrix import judge
from benchmarks.crash_matrix.trace import Event, read_trace, record

FOLDER = "recalibrate/crash-0123456789ab"
ADDRESS = Address("recalibrate", "crash", "0123456789ab" + "0" * 52)
CLOCK = itertools.count(1)


def event(what: Any, run: int = 1, process: int | None = None, **details: object) -> Event:
    """The next thing that happened."""
    now = float(next(CLOCK))
    return Event(what=what, folder=FOLDER, at=now, wall=now, process=process or run, run=run, details=details)


def acquired(token: int, run: int = 1, **details: object) -> Event:
    return event("acquired", run, token=token, **{"released": True, "expires_at": 0.0, "alive": [], **details})


def checkpoint(step: int, token: int, process: int) -> Event:
    return event("checkpoint", process=process, path=place(step, token))


def place(step: int, token: int) -> str:
    return f"{FOLDER}/progress/{step:08d}-{token}/checkpoint.json"


def of_trace(trace: list[Event]) -> list[str]:
    """What every judgement of a trace says."""
    judgements = (
        judge.commits_twice,
        judge.double_runs,
        judge.acts_after_loss,
        judge.restarts,
        judge.removals_of_reachable,
    )
    return [wrong for judgement in judgements for wrong in judgement(trace)]


def test_a_run_that_dies_is_followed_by_one_that_goes_on_from_its_checkpoint() -> None:
    assert not of_trace(
        [
            acquired(1),
            event("rank", process=11, token=1),
            checkpoint(30, 1, process=11),
            checkpoint(31, 1, process=11),
            event("removed", process=11, path=place(30, 1)),
            acquired(2, run=2, released=False, expires_at=float(10**9)),
            event("rank", run=2, process=22, token=2),
            event("continues", run=2, process=22, path=place(31, 1)),
            checkpoint(32, 2, process=22),
            event("commit", run=2, attempt="0002-b"),
            event("removed", run=2, path=place(32, 2)),
            event("removed", run=2, path=f"{FOLDER}/files/0001-a"),
        ]
    )


def test_a_second_commit_of_one_key_is_told() -> None:
    (wrong,) = of_trace([acquired(1), event("commit", attempt="0001-a"), event("commit", attempt="0001-a")])
    assert wrong == f"{FOLDER} was committed 2 times"


def test_a_commit_by_who_has_lost_its_lease_is_told() -> None:
    (wrong,) = of_trace([acquired(1, run=1), acquired(2, run=2), event("commit", run=1, attempt="0001-a")])
    assert "lost its lease" in wrong


@pytest.mark.parametrize(
    ("released", "expires_at", "is_wrong"),
    [(False, 10.0**9, True), (True, 10.0**9, True), (False, 0.0, False)],
    ids=["valid", "released", "expired"],
)
def test_two_ranks_at_once_are_wrong_unless_the_lease_of_the_first_had_expired(
    released: bool, expires_at: float, is_wrong: bool
) -> None:
    trace = [acquired(1), acquired(2, run=2, released=released, expires_at=expires_at, alive=[11])]
    assert bool(of_trace(trace)) == is_wrong


def test_a_stage_begun_anew_although_it_had_a_checkpoint_is_told() -> None:
    begun = [event("rank", process=11, token=1), checkpoint(40, 1, process=11), event("rank", process=22, token=2)]
    (anew,) = of_trace([*begun, checkpoint(26, 2, process=22)])
    assert "begun anew although step 40 was saved" in anew
    (never,) = of_trace([*begun, event("commit", attempt="0002-b")])
    assert "begun anew although step 40 was saved" in never
    (older,) = of_trace([*begun, event("continues", process=22, path=place(30, 1))])
    assert "went on from step 30 although step 40 was saved" in older


def test_a_new_attempt_that_ended_before_it_looked_for_a_checkpoint_has_begun_nothing_anew() -> None:
    assert not of_trace(
        [
            event("rank", process=11, token=1),
            checkpoint(40, 1, process=11),
            event("rank", process=22, token=2),
            event("rank", process=33, token=3),
            event("continues", process=33, path=place(40, 1)),
            event("commit", attempt="0003-c"),
        ]
    )


@pytest.mark.parametrize("path", [f"{FOLDER}/manifest.json", f"{FOLDER}/files/0001-a/model.safetensors"])
def test_removing_anything_of_a_committed_artifact_is_told(path: str) -> None:
    trace = [event("removed", path=path), event("commit", attempt="0001-a"), event("removed", path=path)]
    assert of_trace(trace) == [f"{path} was removed after its commit"]


def test_removing_the_newest_checkpoint_of_an_unfinished_stage_is_told() -> None:
    trace = [checkpoint(40, 1, process=11), checkpoint(41, 2, process=22), event("removed", path=place(41, 2))]
    assert of_trace(trace) == [f"{place(41, 2)} was removed, the newest checkpoint of an unfinished stage"]


def test_what_processes_note_is_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    for token in (1, 2, 3):
        record(tmp_path, "rank", FOLDER, 7, token=token)
    assert [found.details["token"] for found in read_trace(tmp_path)] == [1, 2, 3]
    assert {(found.what, found.folder, found.run) for found in read_trace(tmp_path)} == {("rank", FOLDER, 7)}


def test_the_store_is_judged_by_its_bytes_manifests_weights_and_leases(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    lease = store.leases.acquire(ADDRESS, "test", ttl=600)
    assert isinstance(lease, HeldLease)
    with store.attempt(ADDRESS, lease) as attempt:
        (attempt.output / "model.safetensors").write_bytes(b"weights")
        attempt.commit(stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
    before, trained = judge.manifests(store), judge.weights(store)

    def wrong(**changes: Any) -> list[str]:
        values = {"trace": [], "store": store, "before": before, "undisturbed": trained, **changes}
        return judge.violations(judge.Evidence(**values))

    (held,) = wrong()
    assert "still leased" in held
    lease.release()
    assert not wrong()
    assert wrong(undisturbed={FOLDER: "0" * 64}) == [f"{FOLDER}: its weights differ from an undisturbed run"]
    (absent,) = wrong(undisturbed={"recalibrate/other-0123456789ab": "0" * 64})
    assert "does not exist" in absent
    assert wrong(before={FOLDER: "0" * 64}) == [f"{FOLDER}: its manifest changed"]
    (Path(store.path_of(ADDRESS)) / "model.safetensors").write_bytes(b"damaged")
    assert any("model.safetensors" in found for found in wrong())
