"""The batch job of one stage: the script that Slurm runs, and what sbatch is told of it.

The script replaces itself by `miniseries stage ... --slurm-job`, so Slurm's signals reach the supervisor of the stage.
It holds no secret: what the stage needs besides is in the environment that sbatch hands on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.planning.title import title
from tasks.dispatch.jobs import Commission
from tasks.dispatch.slurm_settings import NO_GRES, SlurmSettings
from tasks.launch import Launcher

KEPT = ("SLURM_CONF",)  # of Slurm's own variables: the others would describe the job that submits, if one does
OF_THE_SUBMITTER = ("MINISERIES_GPU_JOBS", "MINISERIES_NODES")  # they share this machine out, not a node

GATHER = """\
export MINISERIES_NODES="$SLURM_JOB_NUM_NODES"
export MINISERIES_RENDEZVOUS="${MINISERIES_RENDEZVOUS:-$(hostname):$((20000 + SLURM_JOB_ID % 10000))}"
others=$((SLURM_JOB_NUM_NODES - 1))
srun --nodes=$others --ntasks=$others --ntasks-per-node=1 --relative=1 --cpu-bind=none \\
"""


@dataclass(frozen=True, kw_only=True)
class BatchScript:
    """What makes a stage in a batch job."""

    commission: Commission
    settings: SlurmSettings

    @property
    def name(self) -> str:
        """Of the job. The same for every tag that has the stage, and no other stage's: two never run at once."""
        stage = self.commission.stage
        return f"{stage.kind.value}-{stage.name}-{stage.key[:12]}"

    @property
    def path(self) -> Path:
        """Where the script is kept, for people."""
        return self.settings.folder / f"{self.name}.sh"

    def log(self, job: int | str) -> Path:
        """What the job prints; `%j` stands for a number that is not known yet."""
        return self.settings.folder / f"{self.name}-{job}.log"

    def write(self) -> None:
        """Write the script, whole or not at all."""
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        part.write_text(self.text(), encoding="utf-8")
        part.rename(self.path)

    def text(self) -> str:
        """The script."""
        tag, stage = self.commission.tag, self.commission.stage
        program = shlex.join(self.settings.command)
        lines = ["#!/bin/bash", f"# {title(stage)}, for {tag}; key {stage.key}"]
        if self._nodes > 1:
            output = shlex.quote(str(self.log("%j").with_suffix(".others.log")))
            lines.append(f"{GATHER}  --output={output} --open-mode=append {program} join &")
        lines.append(f"exec {program} stage {shlex.quote(tag)} {stage.key} --slurm-job")
        return "\n".join(lines) + "\n"

    def arguments(self) -> list[str]:
        """What sbatch is told."""
        settings = self.settings
        asked = {
            "partition": settings.partition,
            "account": settings.account,
            "qos": settings.qos,
            "time": settings.time,
            "gres": self._gres,
            "cpus-per-task": settings.cpus,
            "mem": settings.memory,
        }
        return [
            f"--job-name={self.name}",
            f"--comment={self.commission.stage.key}",
            f"--output={self.log('%j')}",
            "--open-mode=append",
            "--export=ALL",
            "--requeue",
            "--dependency=singleton",
            f"--signal=B:USR1@{settings.signal_seconds}",
            f"--nodes={self._nodes}",
            "--ntasks-per-node=1",
            *(f"--{option}={value}" for option, value in asked.items() if value is not None),
            *settings.options,
            str(self.path),
        ]

    def environment(self, store_url: str) -> Mapping[str, str]:
        """What the job inherits: all of ours, except that it makes the stage itself, and with all that it is given."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in OF_THE_SUBMITTER and (name in KEPT or not name.startswith(("SLURM_", "SBATCH_", "SRUN_")))
        }
        more = self.commission.assignment.environment(self.commission.stage)
        ours = {"STORE": store_url, "DISPATCH": "inline", "SLURM_FOLDER": str(self.settings.folder)}
        return {**inherited, **more, **{f"MINISERIES_{name}": value for name, value in ours.items()}}

    @property
    def _is_ranked(self) -> bool:
        return self.commission.assignment.launcher is Launcher.TORCHRUN

    @property
    def _nodes(self) -> int:
        """Of this stage: what has no ranks needs one."""
        return self.settings.nodes if self._is_ranked else 1

    @property
    def _gres(self) -> str | None:
        """Of this stage: what has no ranks needs one GPU."""
        if self.settings.gres == NO_GRES:
            return None
        return self.settings.gres or f"gpu:{self.settings.ranks if self._is_ranked else 1}"
