"""From outcomes to CORE: of each task its accuracy with a 95 % interval, and the mean of what each is above guessing.

CORE = mean over tasks of (accuracy - b) / (1 - b), b the accuracy of guessing. A task without data is missing: it has
no score and does not enter the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.evaluation.core_metric.bundle import Bundle, Task
from core.evaluation.core_metric.outcome import Outcome
from core.evaluation.measurement import Measurement, wilson_interval
from core.evaluation.scores import TaskScore, mean_centered

CORE = "core"


@dataclass(frozen=True)
class TaskResult:
    """One task: what it is, its outcomes counted."""

    task: Task
    score: TaskScore
    cropped: int
    unaligned: int

    def listing(self) -> Mapping[str, object]:
        """As JSON values."""
        return {
            "type": self.task.type,
            "shots": self.task.shots,
            "asked": self.score.asked,
            "correct": self.score.correct,
            "baseline": self.task.baseline,
            "centered": self.score.centered,
            "cropped": self.cropped,
            "unaligned": self.unaligned,
        }


@dataclass(frozen=True)
class Results:
    """All tasks that were asked, at least one, and the labels of those that are missing."""

    tasks: tuple[TaskResult, ...]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, bundle: Bundle, outcomes: Sequence[Outcome]) -> Results:
        """Count the outcomes of each task of the bundle."""
        by_task = {task.label: [one for one in outcomes if one.task == task.label] for task in bundle.tasks}
        asked = tuple(_result(task, by_task[task.label]) for task in bundle.tasks if by_task[task.label])
        return cls(asked, tuple(label for label, those in by_task.items() if not those))

    @property
    def core(self) -> Measurement:
        """The one number."""
        return mean_centered([result.score for result in self.tasks])

    def measurements(self) -> dict[str, Measurement]:
        """CORE, then the accuracy of each task, by name."""
        return {CORE: self.core, **{f"accuracy/{one.score.task}": one.score.accuracy for one in self.tasks}}

    def table(self) -> str:
        """A Markdown table: one row a task, then CORE, then what is missing."""
        lines = [
            "| task | type | shots | accuracy | 95 % interval | right | asked | cropped | guessing | centered |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *map(_row, self.tasks),
        ]
        core = self.core
        bounds = "{:.4f} to {:.4f}".format(*core.interval or (core.value, core.value))
        lines.append(f"| CORE of {core.sample_size} tasks | | | | {bounds} | | | | | {core.value:.4f} |")
        lines += [f"| {label} | missing | | | | | | | | |" for label in self.missing]
        return "\n".join(lines)


def _result(task: Task, outcomes: Sequence[Outcome]) -> TaskResult:
    score = TaskScore(
        task=task.label,
        baseline=task.baseline,
        asked=len(outcomes),
        correct=sum(one.correct for one in outcomes),
        too_long=0,  # such a question loses its beginning and is asked
    )
    return TaskResult(task, score, sum(one.cropped for one in outcomes), sum(one.unaligned for one in outcomes))


def _row(result: TaskResult) -> str:
    task, score = result.task, result.score
    lower, upper = wilson_interval(score.correct, score.asked)
    return (
        f"| {task.label} | {task.type.replace('_', ' ')} | {task.shots} | {score.accuracy.value:.2%} "
        f"| {lower:.2%} to {upper:.2%} | {score.correct:,} | {score.asked:,} | {result.cropped:,} "
        f"| {task.baseline:.2%} | {score.centered:.4f} |"
    )
