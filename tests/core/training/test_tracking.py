"""Trackers show every step once whatever was interrupted, and never harm the run that they show.

TensorBoard is read back from its event files here. Weights & Biases (offline) and Trackio (local) are large and would
change the servers under test, so they are not installed for the tests; where they are, their runs are read back too.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.stages.context import StageError
from core.training.tracking.tracker import NoTracker, TrackedRun
from core.training.tracking.trackers import Trackers, open_trackers

KEY = "0123456789abcdef" * 4


def tracked(folder: Path, key: str = KEY) -> TrackedRun:
    return TrackedRun(name="pretrain-tiny", key=key, folder=folder, settings={"depth": 2, "fp8": False, "note": None})


def refuse_warnings(line: str) -> None:
    raise AssertionError(f"a tracker warned: {line}")


def record(names: tuple[str, ...], run: TrackedRun, steps: range, offset: float = 0.0) -> None:
    """One process's part of a run, an hour after the part before."""
    for path in run.folder.glob("tensorboard/*/events.out.tfevents.*"):  # read in the order of the second in their name
        began = path.name.split(".")[3]
        path.rename(path.with_name(path.name.replace(began, f"{int(began) - 3600}", 1)))
    tracker = open_trackers(names, run, refuse_warnings)
    for step in steps:
        tracker.record(step, {"loss": offset + step, "tokens_per_second": 1000.0})
    tracker.close()


def read_events(folder: Path, key: str = KEY) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard" / f"pretrain-tiny-{key[:12]}")).Reload()


def test_every_recorded_number_is_in_the_event_files(tmp_path: Path) -> None:
    record(("tensorboard",), tracked(tmp_path), range(3, 8))
    events = read_events(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(step, step) for step in range(3, 8)]
    assert len(events.Scalars("tokens_per_second")) == 5


@given(first=st.integers(1, 12), continued=st.integers(0, 12), more=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_a_continued_run_shows_every_step_once_as_it_went_last(first: int, continued: int, more: int) -> None:
    with TemporaryDirectory() as name:
        folder, continued = Path(name), min(first, continued)
        record(("tensorboard",), tracked(folder), range(first))
        record(("tensorboard",), tracked(folder), range(continued, continued + more), offset=0.5)
        shown = [(event.step, event.value) for event in read_events(folder).Scalars("loss")]
    expected = [(step, float(step)) for step in range(continued)]
    assert shown == [*expected, *((step, step + 0.5) for step in range(continued, continued + more))]


def test_settings_are_shown_once_however_often_a_run_is_continued(tmp_path: Path) -> None:
    for start in (0, 2, 4):
        record(("tensorboard",), tracked(tmp_path), range(start, start + 2))
    (event,) = read_events(tmp_path).Tensors("settings/text_summary")
    assert "| depth | 2 |" in event.tensor_proto.string_val[0].decode()


def test_stages_of_one_name_and_different_keys_are_different_runs(tmp_path: Path) -> None:
    record(("tensorboard",), tracked(tmp_path), range(3))
    record(("tensorboard",), tracked(tmp_path, key="f" * 64), range(5))
    assert len(read_events(tmp_path).Scalars("loss")) == 3
    assert len(read_events(tmp_path, key="f" * 64).Scalars("loss")) == 5


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    record((), tracked(tmp_path), range(3))
    assert isinstance(open_trackers((), tracked(tmp_path), refuse_warnings), NoTracker)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused_before_any_other_begins(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"'mlflow'; there are tensorboard, wandb, trackio$"):
        open_trackers(("tensorboard", "mlflow"), tracked(tmp_path), refuse_warnings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [loaded for loaded in sys.modules if loaded.startswith(("torch.utils.tensorboard", f"{name}."))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"core.training.tracking.{name}_tracker", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StageError, match=rf"^tracker {name} .*pip install 'miniseries\[{name}\]'") as refused:
        open_trackers((name,), tracked(tmp_path), refuse_warnings)
    assert "\n" not in str(refused.value)


def test_no_tool_is_imported_unless_it_is_chosen() -> None:
    program = "import sys, core.training.tracking.trackers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"wandb", "trackio", "tensorboard", "torch.utils.tensorboard"} & set(loaded)


class Exhausted:
    """A tracker whose quota ends after `quota` records."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self.calls = 0

    def record(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        if self.calls > self.quota:
            raise ConnectionError("402 from https://me:hunter22@tracker.example/\nquota exceeded")

    def close(self) -> None:
        self.calls += 1


def test_a_tracker_that_fails_warns_once_and_the_others_go_on() -> None:
    failing, healthy = Exhausted(quota=2), Exhausted(quota=100)
    warnings: list[str] = []
    tracker = Trackers({"wandb": failing, "trackio": healthy}, warnings.append)
    for step in range(10):
        tracker.record(step, {"loss": 1.0})
    tracker.close()
    assert (failing.calls, healthy.calls) == (3, 11)
    (warning,) = warnings
    assert warning.startswith("tracker wandb failed")
    assert warning.endswith("quota exceeded")
    assert "\n" not in warning
    assert "hunter22" not in warning


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    warnings: list[str] = []
    tracker = open_trackers(("tensorboard",), tracked(tmp_path), warnings.append)
    for step in range(3):
        tracker.record(step, {"loss": 1.0})
    tracker.close()
    assert len(warnings) == 1
    assert "tensorboard" in warnings[0]


def record_in_a_process(name: str, folder: Path, steps: range, **environment: str) -> subprocess.CompletedProcess[str]:
    """The tools read their environment once a process, and a run is continued by another process anyway."""
    program = f"from test_tracking import *; record(({name!r},), tracked(Path({str(folder)!r})), {steps!r})"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "TRACKIO_"))}
    paths = os.pathsep.join([str(Path(__file__).parent), os.getcwd()])
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**inherited, "HOME": str(folder), "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_continues_the_run_of_the_key_and_holds_every_number(tmp_path: Path) -> None:
    for steps in (range(4), range(2, 6)):
        assert record_in_a_process("wandb", tmp_path, steps, WANDB_MODE="offline").returncode == 0
    runs = [list(wandb_records(path)) for path in sorted(tmp_path.glob(f"wandb/offline-run-*/run-{KEY[:12]}.wandb"))]
    assert [wandb_losses(records) for records in runs] == [
        [(step, float(step)) for step in steps] for steps in (range(4), range(2, 6))
    ]
    for records in runs:
        (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert (run.run_id, run.project, run.display_name) == (KEY[:12], "miniseries", "pretrain-tiny")
        assert {"depth": 2, "fp8": False, "note": None}.items() <= {
            item.key: json.loads(item.value_json) for item in run.config.update
        }.items()


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_without_credentials_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = record_in_a_process("wandb", tmp_path, range(1))
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("core.stages.context.StageError: tracker wandb: nobody is logged in")
    assert "WANDB_API_KEY" in last


def wandb_records(path: Path) -> Iterator[object]:
    """Records of W&B's transaction log: LevelDB's log format behind a header of 7 bytes, blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, offset, parts = path.read_bytes(), 7, b""
    while offset + 7 <= len(data):
        left = -offset % 32768
        if left < 7:
            offset += left
        _, size, kind = struct.unpack_from("<IHB", data, offset)
        parts += data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def wandb_losses(records: list) -> list[tuple[int, float]]:
    histories = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    values = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.item} for one in histories]
    return [(value["_step"], value["loss"]) for value in values]


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_continues_the_run_of_the_key_and_shows_every_step_once(tmp_path: Path) -> None:
    for steps in (range(4), range(2, 6)):
        assert record_in_a_process("trackio", tmp_path, steps).returncode == 0
    with sqlite3.connect(tmp_path / "trackio" / "miniseries.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert [(name, step, json.loads(metrics)["loss"]) for name, step, metrics in rows] == [
        (f"pretrain-tiny-{KEY[:12]}", step, step) for step in range(6)
    ]
