"""The record of what `miniseries up` started: what is written is read again; what is no record is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.process import Process
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.record import ProfileChange, Record, read_record, remove_record, write_record

RECORD = Record(
    api_url="http://127.0.0.1:4200/api",
    server=Process(17, 1234),
    database="SQLite",
    workers={"host-cpu": Process(18, 1235), "host-h100-1": Process(19, None)},
    profile=ProfileChange(path="/home/ada/.prefect/profiles.toml", existed=True, active_before="local", sha256="ab"),
    settings="ef",
    gpu_slots=2,
)


@pytest.mark.parametrize("record", [RECORD, Record(api_url="http://team:4200/api")])
def test_what_is_written_is_read_again(tmp_path: Path, record: Record) -> None:
    folder = InstallationFolder(tmp_path)
    write_record(folder, RECORD)
    write_record(folder, record)
    assert read_record(folder) == record
    assert folder.record.stat().st_mode & 0o077 == 0
    remove_record(folder)
    assert read_record(folder) is None
    remove_record(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "surprise": true}'])
def test_what_is_no_record_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    folder = InstallationFolder(tmp_path)
    folder.record.write_text(text)
    with pytest.raises(InstallationError, match=r"up\.json is not a record"):
        read_record(folder)
