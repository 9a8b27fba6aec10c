"""A heavy stage made elsewhere, as whoever delegates it sees it: a real store, and a scheduler that plays a story."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from committing import commit

from artifacts.lease import HeldLease
from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.stages.kind import StageKind
from core.stages.report import Progress
from tasks.dispatch import delegate as delegation
from tasks.dispatch.delegate import delegate
from tasks.dispatch.jobs import Commission, Phase, Report, SchedulerAway
from tasks.launch import Launcher
from tasks.perform import Assignment, Performed, StageFailed, StageInterrupted, StageStopped
from tasks.settings import settings_from_environment

STAGE = next(stage for stage in stages_of("tiny").values() if stage.kind is StageKind.PRETRAIN)
Scene = Report | SchedulerAway | Callable[[], Report]
RUNNING, HELD, WITHDRAWN, ENDED, INTERRUPTED = (
    Report(phase=phase) for phase in (Phase.RUNNING, Phase.HELD, Phase.WITHDRAWN, Phase.ENDED, Phase.INTERRUPTED)
)


@dataclass
class Played:
    """A job whose reports are played one after the other; the last stays."""

    name: str
    scenes: list[Scene]
    is_ours: bool = True
    withdrawn: bool = False

    def report(self) -> Report:
        scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        if isinstance(scene, SchedulerAway):
            raise scene
        return scene if isinstance(scene, Report) else scene()

    def withdraw(self) -> bool:
        self.withdrawn = self.is_ours
        if self.is_ours:
            self.scenes = [WITHDRAWN]
        return self.is_ours


@dataclass
class Stories:
    """A scheduler whose jobs play these stories; `found` is somebody else's, until it has been looked at once."""

    stories: list[list[Scene]] = field(default_factory=list)
    found: list[Played] = field(default_factory=list)
    submitted: list[Played] = field(default_factory=list)

    def check(self) -> None:
        pass

    def find(self, commission: Commission) -> Played | None:
        return self.found.pop(0) if self.found else None

    def submit(self, commission: Commission) -> Played:
        self.submitted.append(Played(f"job {len(self.submitted) + 1}", self.stories.pop(0)))
        return self.submitted[-1]


@dataclass
class Told:
    """A display that remembers the lines and what came of the stage."""

    lines: list[str] = field(default_factory=list)

    def begin(self, title: str) -> None:
        pass

    def advance(self, title: str, progress: Progress) -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        self.lines.append(state)


@dataclass
class Run:
    """A run that wants the stage, and its store."""

    store: Store
    told: Told = field(default_factory=Told)
    stop: threading.Event = field(default_factory=threading.Event)

    def delegates(self, scheduler: Stories) -> Performed:
        assignment = Assignment(
            stage=STAGE,
            settings=settings_from_environment(),
            launcher=Launcher.TORCHRUN,
            title="pretrain",
            display=self.told,
            stop=self.stop,
        )
        return delegate(Commission(tag="tiny", assignment=assignment), scheduler)

    def commits(self) -> Report:
        commit(self.store, STAGE)
        return ENDED

    def saves_a_checkpoint(self, step: int, folder: Path) -> Report:
        lease = self.store.leases.acquire(STAGE.address, purpose="test", ttl=60)
        assert isinstance(lease, HeldLease)
        source = folder / str(step)
        source.mkdir()
        (source / "file").write_bytes(b"weights")
        self.store.progress(STAGE.address, lease.token).save(step, source)
        lease.release()
        return INTERRUPTED


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MINISERIES_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MINISERIES_GRACE_SECONDS", "20")
    monkeypatch.setattr(delegation, "POLL_SECONDS", 0.01)
    return Run(Store.open(str(tmp_path / "store")))


def test_what_the_store_has_is_cached_and_never_submitted(run: Run) -> None:
    run.commits()
    scheduler = Stories()
    assert run.delegates(scheduler).state == "cached"
    assert run.told.lines == ["cached"]


def test_a_job_is_submitted_and_what_it_made_is_known_by_the_store(run: Run) -> None:
    scheduler = Stories([[Report(phase=Phase.WAITING), RUNNING, RUNNING, run.commits]])
    done = run.delegates(scheduler)
    assert (done.state, done.manifest.key) == ("made", STAGE.key)
    assert run.told.lines == [
        "pretrain: handed to job 1",
        "pretrain: waiting as job 1",
        "pretrain: running as job 1",
        "made",
    ]


def test_the_artifact_counts_also_while_the_job_says_that_it_runs(run: Run) -> None:
    def commits_and_goes_on() -> Report:
        run.commits()
        return RUNNING

    assert run.delegates(Stories([[commits_and_goes_on]])).state == "made"


def test_a_job_of_another_run_is_followed_and_not_doubled(run: Run) -> None:
    scheduler = Stories(found=[Played("their job", [RUNNING, run.commits])])
    assert run.delegates(scheduler).state == "reused"
    assert scheduler.submitted == []


def test_while_another_run_holds_the_lease_nothing_is_submitted(run: Run) -> None:
    lease = run.store.leases.acquire(STAGE.address, purpose="somebody else", ttl=60)
    assert isinstance(lease, HeldLease)

    @dataclass
    class Releasing(Told):
        def say(self, line: str) -> None:
            super().say(line)
            if "waiting for process" in line:
                assert scheduler.submitted == []
                lease.release()

    scheduler = Stories([[run.commits]])
    run.told = Releasing()
    assert run.delegates(scheduler).state == "made"
    assert "waiting for process" in run.told.lines[0]


@pytest.mark.parametrize("ending", [HELD, WITHDRAWN], ids=["held", "withdrawn"])
def test_after_a_job_that_ended_for_the_sake_of_another_run_the_next_one_is_submitted(ending: Report, run: Run) -> None:
    scheduler = Stories([[RUNNING, ending], [run.commits]])
    assert run.delegates(scheduler).state == "made"
    assert len(scheduler.submitted) == 2


def test_an_interrupted_job_is_followed_by_another_as_long_as_each_comes_further(run: Run, tmp_path: Path) -> None:
    stories: list[list[Scene]] = [
        [RUNNING, lambda: run.saves_a_checkpoint(10, tmp_path)],
        [RUNNING, lambda: run.saves_a_checkpoint(20, tmp_path)],
        [INTERRUPTED],
    ]
    scheduler = Stories(stories)
    with pytest.raises(StageInterrupted, match="job 3 was interrupted; run the same command again"):
        run.delegates(scheduler)
    assert len(scheduler.submitted) == 3
    assert run.told.lines[-1] == "failed"


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CANCELLED])
def test_what_failed_or_what_a_person_cancelled_is_not_tried_again_and_its_line_is_told(phase: Phase, run: Run) -> None:
    scheduler = Stories([[Report(phase=phase, text="the loss is not finite at step 7")]])
    with pytest.raises(StageFailed, match="the loss is not finite at step 7") as caught:
        run.delegates(scheduler)
    assert not isinstance(caught.value, StageInterrupted)
    assert len(scheduler.submitted) == 1


def test_a_job_that_ended_well_in_another_store_is_told_apart(run: Run) -> None:
    with pytest.raises(StageFailed, match="has no manifest of it here; name a store that all workers share"):
        run.delegates(Stories([[ENDED]]))


def test_a_scheduler_that_is_away_is_waited_for_and_said_once(run: Run) -> None:
    away = SchedulerAway("the server gives no answer")
    scheduler = Stories([[RUNNING, away, away, run.commits]])
    assert run.delegates(scheduler).state == "made"
    assert [line for line in run.told.lines if "no answer" in line] == [
        "pretrain: the server gives no answer; asking again until it does"
    ]


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_stop_withdraws_the_job_unless_another_run_wants_it(is_ours: bool, run: Run) -> None:
    def asks_to_stop() -> Report:
        run.stop.set()
        return RUNNING

    job = Played("a job", [asks_to_stop, RUNNING], is_ours=is_ours)
    with pytest.raises(StageStopped):
        run.delegates(Stories(found=[job]))
    assert job.withdrawn is is_ours
    assert run.told.lines[-1] == "stopped"


def test_a_stop_says_when_the_job_has_not_ended_within_the_grace(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_GRACE_SECONDS", "0.05")

    @dataclass
    class Slow(Played):
        def withdraw(self) -> bool:
            return True

    def stops() -> Report:
        run.stop.set()
        return RUNNING

    with pytest.raises(StageStopped, match="may still be saving its checkpoint"):
        run.delegates(Stories(found=[Slow("a job", [stops, RUNNING])]))
