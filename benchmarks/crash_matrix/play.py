"""One case from start to end: runs begin together, a fault strikes one, the rest of the world reacts, all is judged.

A run that ended without success is started again with the same command, as its user would do, until all succeeded.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from benchmarks.crash_matrix.account import attempts, resumed, shown, steps
from benchmarks.crash_matrix.case import Case, Result
from benchmarks.crash_matrix.judge import Evidence, violations
from benchmarks.crash_matrix.preparation import Prepared, scene_of
from benchmarks.crash_matrix.scene import Run, Scene, Stuck, send

LEFT_SECONDS = 60.0  # that processes have to end after the runs: more than the grace of a stage
AGAIN = 3  # times that the same command is given before a case counts as stuck


def unplayable(case: Case, error: Exception) -> Result:
    """The row of a case that came to no end, so that the others are played all the same."""
    return Result(
        death=case.death,
        runs=case.runs,
        store=case.place,
        shown="",
        resumed="",
        step="",
        attempts=0,
        wrong=[f"it could not be played: {error!r}"],
        seconds=0.0,
    )


def play(case: Case, prepared: Prepared, folder: Path) -> Result:
    """Play a case in the new folder `folder`, and judge it."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    wrong: list[str] = []
    with scene_of(case, prepared, folder) as scene:
        struck: Run | None = None
        try:
            struck = _first_act(scene)
            again = _again(scene)
        except Stuck as stuck:
            wrong.append(f"stuck: {stuck}")
            again = 0
        wrong += _left_behind(scene)
        if struck is None:
            wrong.append("the fault did not strike")
        if scene.s3 is not None:
            scene.s3.get_folder("store", scene.store)
        evidence = Evidence(
            trace=scene.trace,
            store=scene.open_store(),
            before=scene.before,
            undisturbed=prepared.undisturbed,
        )
        wrong += violations(evidence)
        return Result(
            death=case.death,
            runs=case.runs,
            store=case.place,
            shown=shown(struck),
            resumed=resumed(scene, struck, again),
            step=steps(scene),
            attempts=attempts(scene),
            wrong=wrong,
            seconds=round(time.monotonic() - began, 1),
        )


def _first_act(scene: Scene) -> Run | None:
    """Start all runs, wait for the fault and what follows from it, and for their ends; the run that was struck."""
    for number in range(scene.case.runs):
        scene.start(number)
    runs = list(scene.started)
    scene.until("the fault", lambda: scene.strike is not None or all(run.process.poll() is not None for run in runs))
    if scene.strike is not None:
        scene.case.aftermath(scene)
    scene.until("the end of the runs", lambda: all(run.process.poll() is not None for run in runs))
    strike = scene.strike
    if strike is None:
        return None
    return next((run for run in runs if run.process.pid == strike.run), runs[0])  # which waits for a GPU job


def _again(scene: Scene) -> int:
    """Give the same command again to each run that did not succeed; how often that took for the slowest."""
    if scene.case.small_disk:
        for filler in (scene.folder / "small").glob("filler"):
            filler.unlink()
    most = 0
    for failed in [run for run in scene.started if run.process.returncode != 0]:
        for times in range(1, AGAIN + 1):
            run = scene.start(failed.number)
            scene.until("the end of a run", lambda run=run: run.process.poll() is not None)  # type: ignore[misc]
            most = max(most, times)
            if run.process.returncode == 0:
                break
        else:
            raise Stuck(f"the same command, given {AGAIN} times: {run.last_line}")
    return most


def _left_behind(scene: Scene) -> list[str]:
    """Processes that live on although every run has ended; they are ended. A worker would go on for ever."""
    if scene.worker is not None:
        scene.worker.kill()
        scene.worker.wait()
    try:
        scene.until("the end of all processes", lambda: not scene.processes(), LEFT_SECONDS)
    except Stuck:
        left = scene.processes()
        names = [" ".join(process.cmdline()[:6]) for process in left]
        for process in left:
            send(process, signal.SIGKILL)
        return [f"{len(left)} processes were left: {'; '.join(names)}"]
    return []
