"""What a case came to, in the words of the table: how the struck run ended, and how the stage went on."""

from __future__ import annotations

import signal

from benchmarks.crash_matrix.judge import step_of
from benchmarks.crash_matrix.scene import Run, Scene


def shown(run: Run | None) -> str:
    """Exit code or signal of the run that was struck, and its last line if it did not succeed."""
    if run is None:
        return ""
    code = run.process.returncode
    if code is None:
        return "did not end"
    ending = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return ending if code <= 0 or not run.last_line else f"{ending}: {run.last_line}"


def resumed(scene: Scene, struck: Run | None, again: int) -> str:
    """Who went on with the stage that was struck, and how soon."""
    strike = scene.strike
    if strike is None or struck is None:
        return ""
    later = [event for event in scene.trace if event.at > strike.at and event.folder == strike.folder]
    taken = next((event for event in later if event.what == "acquired"), None)
    made = next((event for event in scene.trace if event.what == "commit" and event.folder == strike.folder), None)
    if made is None:
        return "not at all"
    first = {run.process.pid for run in scene.started[: scene.case.runs]}
    if taken is None or made.at < taken.at:
        return "it was made already" if made.at < strike.at else "went on, nothing was lost"
    after = f"after {taken.at - strike.at:.1f} s"
    if taken.run == strike.run:
        return f"by itself {after}"
    if taken.run in first:
        return f"taken over by another run {after}"
    if scene.case.pool == "gpu":
        asked = "same command" if again and scene.case.runs == 1 else "by itself"
        return f"{asked}, in another GPU job {after}"
    if scene.case.pool == "cpu":
        before = [event for event in scene.trace if event.what == "acquired" and event.folder == strike.folder]
        same = before[0].details["flow_run"] == taken.details["flow_run"]
        return f"{'in the same flow run' if same else 'taken over by another run'} {after}"
    return f"same command{'' if again < 2 else f', {again} times'}"


def steps(scene: Scene) -> str:
    """From which steps the stage went on after the fault."""
    strike = scene.strike
    if strike is None:
        return ""
    events = [event for event in scene.trace if event.folder == strike.folder and event.at > strike.at]
    begun = any(event.what == "rank" for event in events)
    steps = [str(step_of(event)) for event in events if event.what == "continues"]
    return ", ".join(steps) if steps else ("from its beginning" if begun else "")


def attempts(scene: Scene) -> int:
    """How often the training of the stage was begun."""
    folder = scene.strike.folder if scene.strike else ""
    return len({event.details["token"] for event in scene.trace if event.what == "rank" and event.folder == folder})
