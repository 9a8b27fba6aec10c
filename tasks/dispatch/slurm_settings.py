"""What a heavy stage asks of Slurm: MINISERIES_SLURM_*. What Slurm would refuse late is refused here, in one line."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import StoreError

SIGNAL_SECONDS = 120  # before the time limit; Slurm may send it up to a minute earlier
NO_GRES = "none"
TIME_LIMIT = re.compile(r"\d+|\d+:\d{1,2}(:\d{1,2})?|\d+-\d{1,2}(:\d{1,2}){0,2}")  # as `man sbatch` has it
MEMORY = re.compile(r"\d+[KMGT]?")
WORD = re.compile(r"\S+")


class SlurmError(StoreError):
    """Slurm cannot be used as it was asked for: says why, and what would do."""


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """Of every job; what is None is left to the cluster."""

    folder: Path  # for scripts and job logs, on a disk that this machine and the nodes share
    partition: str | None
    account: str | None
    qos: str | None
    time: str | None  # limit, as sbatch takes it
    gres: str | None  # of each node; None: a GPU for each rank; NO_GRES: none
    ranks: int  # on each node
    nodes: int
    cpus: int | None  # of each node
    memory: str | None  # of each node
    signal_seconds: int
    options: tuple[str, ...]  # further arguments of sbatch
    command: tuple[str, ...]  # what runs `miniseries` on a node


def slurm_from_environment(grace_seconds: float) -> SlurmSettings:
    """Resolve MINISERIES_SLURM_*. Raises `SlurmError`."""
    nodes = _count("NODES") or 1
    if nodes > 1 and not os.environ.get("MINISERIES_CACHE"):
        raise SlurmError(
            f"MINISERIES_SLURM_NODES={nodes} needs a folder that all nodes share, for inputs and what they tell each "
            "other; name it in MINISERIES_CACHE"
        )
    return SlurmSettings(
        folder=_folder(),
        partition=_text("PARTITION", WORD, "a partition, or several with commas between"),
        account=_text("ACCOUNT", WORD, "an account"),
        qos=_text("QOS", WORD, "a quality of service"),
        time=_text("TIME", TIME_LIMIT, "a time limit; set minutes, hours:minutes:seconds or days-hours"),
        gres=_text("GRES", WORD, f"generic resources; set gpu:N, gpu:TYPE:N, or {NO_GRES}"),
        ranks=_ranks(),
        nodes=nodes,
        cpus=_count("CPUS"),
        memory=_text("MEM", MEMORY, "memory of a node; set megabytes, or a number with K, M, G or T"),
        signal_seconds=_signal_seconds(grace_seconds),
        options=_words("OPTIONS"),
        command=_words("COMMAND") or (sys.executable, "-m", "flows.command_line"),
    )


def _folder() -> Path:
    text = os.environ.get("MINISERIES_SLURM_FOLDER")
    if not text:
        raise SlurmError(
            "MINISERIES_DISPATCH=slurm needs MINISERIES_SLURM_FOLDER: a folder for scripts and job logs that this "
            "machine and the nodes share"
        )
    return Path(text).expanduser().absolute()


def _ranks() -> int:
    """As many as are asked for; what is no count is refused where ranks are counted."""
    text = os.environ.get("MINISERIES_PROCESSES", "")
    return int(text) if text.isdecimal() else 1


def _signal_seconds(grace_seconds: float) -> int:
    seconds = _count("SIGNAL_SECONDS") or SIGNAL_SECONDS
    if seconds <= grace_seconds:
        raise SlurmError(
            f"MINISERIES_SLURM_SIGNAL_SECONDS={seconds} before its limit a job is told to checkpoint, for which it "
            f"may take MINISERIES_GRACE_SECONDS={grace_seconds:g}; set more of the first or less of the second"
        )
    return seconds


def _count(name: str) -> int | None:
    text = os.environ.get(f"MINISERIES_SLURM_{name}", "")
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise SlurmError(f"MINISERIES_SLURM_{name}={text!r} is no count; set a whole number of at least 1, or unset it")
    return int(text) if text else None


def _text(name: str, form: re.Pattern[str], meaning: str) -> str | None:
    text = os.environ.get(f"MINISERIES_SLURM_{name}", "")
    if text and form.fullmatch(text) is None:
        raise SlurmError(f"MINISERIES_SLURM_{name}={text!r} is not {meaning}; or unset it")
    return text or None


def _words(name: str) -> tuple[str, ...]:
    text = os.environ.get(f"MINISERIES_SLURM_{name}", "")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SlurmError(f"MINISERIES_SLURM_{name} cannot be split as a shell does: {error}; correct it") from error
