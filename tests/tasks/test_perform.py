"""One stage brought about for real: a store on disk, a child process, and somebody who comes in between."""

from __future__ import annotations

import json
import shutil
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from running import wait_until

from artifacts.errors import StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.stages.kind import StageKind
from core.stages.report import Measured, Progress
from core.stages.runtime import Runtime
from core.stages.specification import Outcome
from tasks.launch import Launcher
from tasks.perform import Assignment, Performed, StageFailed, StageInterrupted, StageStopped, _Child, _judge, perform
from tasks.settings import RunSettings

CORPUS, TOKENIZER = (
    next(stage for stage in stages_of("tiny").values() if stage.kind is kind)
    for kind in (StageKind.CORPUS, StageKind.TOKENIZER)
)


@dataclass
class Recorded:
    """A display that remembers what it was told."""

    told: list[str] = field(default_factory=list)

    def begin(self, title: str) -> None:
        self.told.append(f"{title} begins")

    def advance(self, title: str, progress: Progress) -> None:
        pass

    def measure(self, title: str, measured: Measured) -> None:
        pass

    def say(self, line: str) -> None:
        self.told.append(line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        self.told.append(f"{title} {state}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a corpus and a tokenizer."""
    folder = tmp_path_factory.mktemp("made")
    for stage in (CORPUS, TOKENIZER):
        assert performed(stage, folder, Recorded()).state == "made"
    return folder


@pytest.fixture
def without_tokenizer(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(made, tmp_path / "store", symlinks=True)
    shutil.rmtree(tmp_path / "store" / TOKENIZER.address.folder)
    return tmp_path / "store"


def performed(stage: Stage, store: Path, display: Recorded) -> Performed:
    return perform(assignment(stage, store, display))


def assignment(stage: Stage, store: Path, display: Recorded) -> Assignment:
    runtime = Runtime(publication_url=f"{store.as_uri()}/hub")
    settings = RunSettings(
        store_url=str(store),
        lease_seconds=60.0,
        grace_seconds=5.0,
        dispatch="inline",
        gpu_jobs=1,
        packers=None,
        pack_cluster=None,
        runtime=runtime,
    )
    return Assignment(
        stage=stage, settings=settings, launcher=Launcher.PROCESS, title=stage.kind.value, display=display
    )


def is_released(stage: Stage, store: Path) -> bool:
    return bool(json.loads((store / stage.address.folder / "lease.json").read_text())["released"])


def test_what_is_in_the_store_is_cached_and_nobody_takes_its_lease(made: Path) -> None:
    before = (made / TOKENIZER.address.folder / "lease.json").read_bytes()
    display = Recorded()
    assert performed(TOKENIZER, made, display).state == "cached"
    assert display.told == ["tokenizer cached"]
    assert (made / TOKENIZER.address.folder / "lease.json").read_bytes() == before


def test_what_another_run_committed_first_is_reused(made: Path, without_tokenizer: Path) -> None:
    @dataclass
    class Overtaken(Recorded):
        def begin(self, title: str) -> None:
            source, target = (folder / TOKENIZER.address.folder for folder in (made, without_tokenizer))
            shutil.copytree(source / "files", target / "files")
            shutil.copy(source / "manifest.json", target)

    theirs = Store.open(str(made)).manifest(TOKENIZER.address)
    done = performed(TOKENIZER, without_tokenizer, Overtaken())
    assert done.state == "reused"
    assert done.manifest == theirs
    assert is_released(TOKENIZER, without_tokenizer)


def logs_of(stage: Stage, store: Path) -> dict[str, str]:
    """What each attempt at the artifact wrote, by attempt."""
    return {path.stem: path.read_text() for path in (store / stage.address.folder / "logs").glob("*.log")}


def test_the_whole_log_is_kept_beside_the_artifact_and_is_none_of_its_files(made: Path) -> None:
    manifest = Store.open(str(made)).manifest(TOKENIZER.address)
    assert manifest is not None
    ((attempt, log),) = logs_of(TOKENIZER, made).items()
    assert attempt == manifest.attempt
    assert '@progress {"done"' in log
    assert not any("log" in file.path for file in manifest.files)


def test_the_log_of_an_attempt_that_failed_is_kept_without_secrets(
    without_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODYS_PASSWORD", "my-very-secret-password")
    monkeypatch.setenv("PYTHONWARNINGS", "my-very-secret-password")  # Python prints what it does not understand
    stop = threading.Event()

    @dataclass
    class Stopping(Recorded):
        def advance(self, title: str, progress: Progress) -> None:
            stop.set()

    with pytest.raises(StageStopped):
        perform(replace(assignment(TOKENIZER, without_tokenizer, Stopping()), stop=stop))
    ((_, log),) = logs_of(TOKENIZER, without_tokenizer).items()
    assert "@progress" in log
    assert "Invalid -W option ignored: invalid action: '***'" in log
    assert "my-very-secret-password" not in log


LINGER = """
import atexit, os, pathlib, signal
if "core.stages" in __import__("sys").orig_argv:
    atexit.register(lambda: (pathlib.Path(os.environ["DONE"]).touch(), signal.pause()))
"""


def test_a_stage_that_is_done_when_it_is_told_to_stop_is_committed(
    without_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / "sitecustomize.py").write_text(LINGER)  # its process has told its outcome, and does not end
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "linger"))
    monkeypatch.setenv("DONE", str(tmp_path / "done"))
    stop = threading.Event()
    thread = threading.Thread(target=lambda: wait_until((tmp_path / "done").exists) and stop.set())
    thread.start()
    display = Recorded()
    done = perform(replace(assignment(TOKENIZER, without_tokenizer, display), stop=stop))
    thread.join()
    assert done.state == "made"
    assert display.told[-1] == "tokenizer made"
    assert not Store.open(str(without_tokenizer)).verify(TOKENIZER.address)
    assert is_released(TOKENIZER, without_tokenizer)


def test_a_terminal_that_went_away_does_not_keep_the_lease(without_tokenizer: Path) -> None:
    @dataclass
    class Closed(Recorded):
        def begin(self, title: str) -> None:
            raise BrokenPipeError

        def end(self, title: str, state: str, seconds: float, summary: str) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        performed(TOKENIZER, without_tokenizer, Closed())
    assert is_released(TOKENIZER, without_tokenizer)
    assert Store.open(str(without_tokenizer)).manifest(TOKENIZER.address) is None


def test_a_stage_that_is_asked_to_stop_ends_its_child_releases_its_lease_and_is_no_failure(
    without_tokenizer: Path,
) -> None:
    @dataclass
    class Stopping(Recorded):
        stop: threading.Event = field(default_factory=threading.Event)

        def begin(self, title: str) -> None:
            super().begin(title)
            self.stop.set()

    display = Stopping()
    with pytest.raises(StageStopped):
        perform(replace(assignment(TOKENIZER, without_tokenizer, display), stop=display.stop))
    assert display.told == ["tokenizer begins", "tokenizer stopped"]
    assert is_released(TOKENIZER, without_tokenizer)
    assert Store.open(str(without_tokenizer)).manifest(TOKENIZER.address) is None


def test_a_stage_that_waits_for_another_run_can_be_stopped(without_tokenizer: Path) -> None:
    @dataclass
    class Impatient(Recorded):
        stop: threading.Event = field(default_factory=threading.Event)

        def say(self, line: str) -> None:
            super().say(line)
            self.stop.set()

    theirs = Store.open(str(without_tokenizer)).leases.acquire(TOKENIZER.address, "another run", 60.0)
    assert isinstance(theirs, HeldLease)
    display = Impatient()
    with pytest.raises(StageStopped):
        perform(replace(assignment(TOKENIZER, without_tokenizer, display), stop=display.stop))
    assert display.told[0].startswith("tokenizer: waiting for")
    theirs.confirm()


def test_a_store_that_is_away_for_a_moment_does_not_stop_a_stage(
    without_tokenizer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(str(without_tokenizer))
    lease = store.leases.acquire(TOKENIZER.address, "test", 60.0)
    assert isinstance(lease, HeldLease)
    child = _Child(assignment(TOKENIZER, without_tokenizer, Recorded()), lease)
    folder = without_tokenizer / TOKENIZER.address.folder
    shutil.move(folder, without_tokenizer / "away")
    folder.write_text("not a folder any more")
    with pytest.raises(StoreUnavailable):
        lease.record_processes([1])
    child.record([1])
    assert "were not recorded in its lease" in caplog.text


@pytest.mark.parametrize(
    ("outcomes", "code", "kind", "words"),
    [
        ([("failed", "too long"), ("interrupted", "a rank")], 1, StageFailed, "too long (log: the-log)"),
        ([("interrupted", "another rank"), ("failed", "secondary")], 1, StageInterrupted, "another rank; run the same"),
        ([], -9, StageInterrupted, "SIGKILL, perhaps for lack of memory"),
        ([], 1, StageInterrupted, "exit code 1); last line: Killed; run the same command again"),
        ([("finished", "")], 1, StageInterrupted, "exit code 1"),
    ],
)
def test_the_first_process_that_ended_badly_is_the_cause(
    outcomes: list[tuple[str, str]], code: int, kind: type[StageFailed], words: str
) -> None:
    found = [Outcome(status=status, rank=rank, error=error) for rank, (status, error) in enumerate(outcomes)]  # type: ignore[arg-type]
    with pytest.raises(StageFailed) as raised:
        _judge(TOKENIZER, code, found, deque(["Killed", "=" * 60]), Path("the-log"))  # torchrun frames what it says
    assert type(raised.value) is kind
    assert words in str(raised.value)


def test_what_a_user_reads_of_a_failed_stage_has_no_secret_in_it() -> None:
    failed = Outcome(status="failed", rank=0, error="403 for https://me:my-password@host/file")
    with pytest.raises(StageFailed) as raised:
        _judge(TOKENIZER, 1, [failed], deque(), Path("the-log"))
    assert "my-password" not in str(raised.value)
