"""What a stage makes from a fixed tiny input is what it made before, or its kind has a new version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import golden_file
import pytest
from fingerprints import differences
from golden_file import GOLDEN, HERE, Entries, Entry, RefusedError, complaint, merged

from core.stages.kind import DEFINITIONS, StageKind

TOKENIZER = StageKind.TOKENIZER


@pytest.fixture(scope="module")
def measured() -> Entries:
    """Every kind's golden stages, made now."""
    return golden_file.measure()


@pytest.fixture
def recorded() -> Entries:
    """The committed file."""
    return golden_file.read()


def changed(entry: Entry) -> Entry:
    """The same entry after its producer has changed: one value is another."""
    name, value = next(iter(entry.fingerprint.items()))
    return replace(entry, fingerprint={**entry.fingerprint, name: f"not {value}"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", StageKind)
def test_the_output_of_a_kind_changes_only_with_its_version(
    kind: StageKind, recorded: Entries, measured: Entries
) -> None:
    problem = complaint(kind, recorded.get(kind), measured[kind])
    assert not problem, problem


def test_a_changed_output_at_an_unchanged_version_is_named_with_what_to_do(recorded: Entries) -> None:
    entry = recorded[TOKENIZER]
    name, value = next(iter(entry.fingerprint.items()))
    problem = complaint(TOKENIZER, entry, changed(entry))
    assert f"{name} was {value!r}, is 'not {value}'" in problem
    assert "raise the version of tokenizer in core/stages/kind.py, or revert" in problem
    assert "`python tests/golden/record.py` writes the new golden file" in problem


def test_the_recorder_refuses_a_changed_output_at_an_unchanged_version(tmp_path: Path, recorded: Entries) -> None:
    path = tmp_path / "golden.json"
    stale = replace(changed(recorded[TOKENIZER]), version=DEFINITIONS[TOKENIZER].version)
    golden_file.write({**recorded, TOKENIZER: stale}, path)
    before = path.read_bytes()
    command = [sys.executable, str(HERE / "record.py"), "--file", str(path), "tokenizer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("nothing was recorded: tokenizer still has version")
    assert path.read_bytes() == before


def test_the_recorder_refuses_everything_when_one_kind_is_refused(recorded: Entries) -> None:
    pack = recorded[StageKind.PACK]
    now = {TOKENIZER: changed(recorded[TOKENIZER]), StageKind.PACK: replace(pack, version=pack.version + 1)}
    with pytest.raises(RefusedError, match="tokenizer still has version"):
        merged(recorded, now)


def test_a_raised_version_is_asked_for_and_recorded_with_its_new_output(recorded: Entries) -> None:
    entry = recorded[TOKENIZER]
    raised = replace(changed(entry), version=entry.version + 1)
    assert "record.py` records it" in complaint(TOKENIZER, entry, raised)
    after = merged(recorded, {TOKENIZER: raised})
    assert after == {**recorded, TOKENIZER: raised}
    assert complaint(TOKENIZER, after[TOKENIZER], raised) == ""


def test_a_kind_without_an_entry_is_asked_for_and_added(recorded: Entries) -> None:
    entry = recorded.pop(TOKENIZER)
    assert "has no golden entry" in complaint(TOKENIZER, None, entry)
    assert merged(recorded, {TOKENIZER: entry}) == {**recorded, TOKENIZER: entry}


def test_a_version_that_went_back_is_refused_even_with_the_same_output(recorded: Entries) -> None:
    entry = recorded[TOKENIZER]
    with pytest.raises(RefusedError, match="versions only rise"):
        merged(recorded, {TOKENIZER: replace(entry, version=entry.version - 1)})


def test_last_bits_of_another_processor_are_neither_a_change_nor_recorded(recorded: Entries) -> None:
    entry = recorded[StageKind.PRETRAIN]
    elsewhere = {
        name: value * (1 + 5e-6) if isinstance(value, float) else value for name, value in entry.fingerprint.items()
    }
    assert elsewhere != entry.fingerprint
    measured = replace(entry, fingerprint=elsewhere)
    assert complaint(StageKind.PRETRAIN, entry, measured) == ""
    assert merged(recorded, {StageKind.PRETRAIN: measured}) == recorded


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({"loss": 2.0}, {"loss": 2.0001}, []),
        ({"loss": 2.0}, {"loss": 2.001}, ["loss was 2.0, is 2.001"]),
        ({"rows": 100_000}, {"rows": 100_001}, ["rows was 100000, is 100001"]),
        ({"a": "1", "b": "2"}, {"b": "2", "c": "3"}, ["a is gone", "c is new"]),
    ],
)
def test_floats_have_a_tolerance_and_nothing_else_has(before: dict, now: dict, found: list[str]) -> None:
    assert differences(before, now) == found


def test_the_golden_file_survives_being_read_and_written(tmp_path: Path, recorded: Entries) -> None:
    shutil.copy(GOLDEN, tmp_path / "copy.json")
    golden_file.write(golden_file.read(tmp_path / "copy.json"), tmp_path / "copy.json")
    assert (tmp_path / "copy.json").read_bytes() == GOLDEN.read_bytes()
    assert recorded.keys() == set(StageKind)
