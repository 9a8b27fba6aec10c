"""The matrix as Markdown."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.crash_matrix.case import Result
from benchmarks.crash_matrix.scene import COMMAND

HEADING = """# Crash matrix

What happens when a part of a run dies, by what dies and by how many runs compete for the same stage. Written by
`python -m benchmarks.crash_matrix --write docs/crash-matrix.md`; `--only TEXT` plays the rows whose name has that text.

Each row is one case: as many runs as the second column says begin together on a store in which the last training
stage is missing (75 optimizer steps of a micro model under torchrun on a CPU), each by the command

    miniseries {command}

Once one of them trains and the others stand in line for its stage, the fault strikes at one operation on the store,
so that no case depends on the clock. Runs that end without success are started again with the same command until all
have succeeded. On S3 (moto), each run is on a machine of its own: other host, home and cache; nobody can see there
whether a holder is dead, so its lease must expire. "GPU pool": the runs hand the stage to `gpu-job/h100`, which a
worker runs, on a Prefect server with the pools and automations of `miniseries up`. "deployed": the runs are flow runs
of the deployed pipeline, which a worker runs; nobody gives a command again.

Judged after each case, from the operations on the store that all processes noted and from the store itself:

- at most one manifest was committed per key, and none by a run that had lost its lease;
- every committed manifest verifies, byte by byte, and those that were there before are unchanged;
- nothing of a committed artifact was removed, and no checkpoint that an unfinished stage would go on from;
- the weights of every training stage have the sha256 of an undisturbed run;
- every attempt went on from the newest checkpoint that was there;
- no lease was acquired while a training process of its valid holder lived; in the end none is held;
- no process is left.

{verdict}
Played at {revisions} with {versions}.
"""
COLUMNS = (
    "point of death",
    "runs",
    "store",
    "what the struck run showed",
    "how the stage went on",
    "at step",
    "attempts",
    "invariants",
    "seconds",
)
PLACES = re.compile(r"(/[\w.+-]+){2,}/?")  # paths are this machine's own business


def document(results: Sequence[Result], rows: int) -> str:
    """The page, of a matrix that has so many rows."""
    failed = sum(bool(result.wrong) for result in results)
    verdict = f"All {len(results)} rows hold." if not failed else f"{failed} of {len(results)} rows do not hold."
    if len(results) < rows:
        verdict += f" {rows - len(results)} of the {rows} rows were not played."
    versions = ", ".join(f"{name} {found}" for name, found in _versions().items())
    played = sorted({result.revision or "an unknown one" for result in results})
    revisions = f"revision{'s' if len(played) > 1 else ''} {', '.join(played)}"
    heading = HEADING.format(command=" ".join(COMMAND), verdict=verdict, revisions=revisions, versions=versions)
    return "\n".join([heading, _cells(COLUMNS), "|---" * len(COLUMNS) + "|", *map(_row, results)]) + "\n"


def line(result: Result) -> str:
    """One row for people who watch."""
    return f"{result.name}: {_invariants(result)} ({result.resumed}, step {result.step}, {result.seconds:.0f} s)"


def _row(result: Result) -> str:
    return _cells(
        (
            result.death,
            str(result.runs),
            result.store,
            _shown(result.shown),
            result.resumed,
            result.step,
            str(result.attempts),
            _invariants(result),
            f"{result.seconds:.0f}",
        )
    )


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


def _shown(text: str) -> str:
    return PLACES.sub("...", text)


def _invariants(result: Result) -> str:
    return "hold" if not result.wrong else "BROKEN: " + "; ".join(result.wrong)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": version("torch"), "prefect": version("prefect")}
