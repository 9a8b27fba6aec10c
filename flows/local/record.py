"""What `miniseries up` started, as one JSON file: written whole or not at all, readable by its user only, no secrets.

A process is recorded by its id and its start time, so that a reused id is not taken for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from artifacts.process import Process
from flows.local.folder import InstallationError, InstallationFolder

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProfileChange:
    """Prefect's profiles file, changed by us so that the plain `prefect` command finds our server."""

    path: str
    existed: bool  # before it was changed
    active_before: str | None
    sha256: str  # of what we wrote


@dataclass(frozen=True, kw_only=True)
class Record:
    """One installation: where its server is, and what of it is ours."""

    api_url: str
    server: Process | None = None  # None: it was there before us
    database: str = ""  # of our server, without user and password
    workers: Mapping[str, Process] = field(default_factory=dict)  # by the worker's name
    profile: ProfileChange | None = None
    settings: str = ""  # fingerprint of the settings that the workers were started with
    gpu_slots: int = 0  # among which the GPUs were shared out


def read_record(folder: InstallationFolder) -> Record | None:
    """The record; None when nothing is up. Raises `InstallationError` for a file that is no record."""
    try:
        text = folder.record.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return _decode(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise InstallationError(
            f"{folder.record} is not a record of `miniseries up` ({error}); "
            "remove that file, then `miniseries down` stops what carries its mark"
        ) from None


def write_record(folder: InstallationFolder, record: Record) -> None:
    """Replace the record as a whole."""
    temporary = folder.record.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as sink:
        json.dump({"format": FORMAT, **asdict(record)}, sink, indent=1)
        sink.flush()
        os.fsync(sink.fileno())
    temporary.replace(folder.record)


def remove_record(folder: InstallationFolder) -> None:
    """Nothing is up any more."""
    Path(folder.record).unlink(missing_ok=True)


def _decode(content: dict[str, Any]) -> Record:
    if content.pop("format") != FORMAT:
        raise ValueError("another version of miniseries wrote it")
    server, profile = content.pop("server"), content.pop("profile")
    workers = {name: Process(**process) for name, process in content.pop("workers").items()}
    return Record(
        server=Process(**server) if server else None,
        profile=ProfileChange(**profile) if profile else None,
        workers=workers,
        **content,
    )
