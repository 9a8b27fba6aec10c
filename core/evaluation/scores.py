"""From answers to scores: accuracy of each task, and ChatCORE, the mean of what each is above guessing.

ChatCORE = mean over tasks of (accuracy - b) / (1 - b), b the accuracy of guessing. A task that was not asked, or of
which no question fits the model's context, is missing: it has no score and does not enter the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from core.evaluation.examination import Answered
from core.evaluation.measurement import Measurement, wilson_interval

STANDARD = ("arc-easy", "arc-challenge", "mmlu", "gsm8k", "humaneval", "spelling-bee")  # nanochat's ChatCORE


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """How one task went. Of `questions`, `too_long` did not fit the context and the others were `asked`."""

    task: str
    baseline: float
    asked: int
    correct: int
    too_long: int

    @property
    def accuracy(self) -> Measurement:
        """Share of the asked questions that were answered right; there must be one."""
        return Measurement(
            value=self.correct / self.asked,
            unit="share of answers right",
            sample_size=self.asked,
            sample_unit="questions",
            interval=wilson_interval(self.correct, self.asked),
        )

    @property
    def centered(self) -> float:
        """0 for guessing, 1 for all right."""
        return (self.accuracy.value - self.baseline) / (1 - self.baseline)


def score(task: str, baseline: float, answers: Sequence[Answered]) -> TaskScore:
    """Count the answers of one task."""
    verdicts = [answer.correct for answer in answers]
    return TaskScore(
        task=task,
        baseline=baseline,
        asked=len(verdicts) - verdicts.count(None),
        correct=verdicts.count(True),
        too_long=verdicts.count(None),
    )


def mean_centered(scores: Sequence[TaskScore]) -> Measurement:
    """CORE or ChatCORE of tasks that were asked at least one question each, with a 95 % interval.

    The interval of a weighted sum of proportions p follows from the Wilson interval (l, u) of each: its bounds lie
    sqrt(sum (w (p - l))^2) below and sqrt(sum (w (u - p))^2) above the sum (Zou, Huang, Zhang: A note on confidence
    interval estimation for a linear function of binomial proportions, Comput. Statist. Data Anal. 53, 2009).
    """
    value = sum(each.centered for each in scores) / len(scores)
    below = above = 0.0
    for each in scores:
        weight, accuracy = 1 / (len(scores) * (1 - each.baseline)), each.accuracy
        lower, upper = wilson_interval(each.correct, each.asked)
        below += (weight * (accuracy.value - lower)) ** 2
        above += (weight * (upper - accuracy.value)) ** 2
    return Measurement(
        value=value,
        unit="mean of (accuracy - guessing) / (1 - guessing)",
        sample_size=len(scores),
        sample_unit="tasks",
        interval=(value - sqrt(below), value + sqrt(above)),
    )


@dataclass(frozen=True)
class Examination:
    """Every answer, and what they come to."""

    scores: tuple[TaskScore, ...]
    answers: tuple[Answered, ...]

    @property
    def missing(self) -> list[str]:
        """What has no score: standard tasks that were not asked, and tasks of which no question fits the context."""
        asked = {each.task: each.asked for each in self.scores}
        return [*(task for task in STANDARD if task not in asked), *(task for task in asked if not asked[task])]

    @property
    def results(self) -> dict[str, Measurement]:
        """ChatCORE, then the accuracy of each task, by the names of their measurements."""
        scored = [each for each in self.scores if each.asked]
        core = {"chatcore": mean_centered(scored)} if scored else {}
        return {**core, **{f"accuracy/{each.task}": each.accuracy for each in scored}}

    def listing(self) -> dict[str, object]:
        """The JSON value: each task with its counts, and what is missing."""
        tasks = {
            each.task: {
                "asked": each.asked,
                "correct": each.correct,
                "too_long": each.too_long,
                "baseline": each.baseline,
                "centered": each.centered if each.asked else None,
            }
            for each in self.scores
        }
        return {"tasks": tasks, "missing": self.missing}

    def table(self) -> str:
        """A Markdown table: one row a task, then ChatCORE, then what is missing."""
        lines = [
            "| task | accuracy | 95 % interval | right | asked | too long | guessing | centered |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(each) for each in self.scores if each.asked]
        core = self.results.get("chatcore")
        if core is not None and core.interval is not None:
            bounds = "{:.4f} to {:.4f}".format(*core.interval)
            lines.append(f"| ChatCORE of {core.sample_size} tasks | | {bounds} | | | | | {core.value:.4f} |")
        lines += [f"| {task} | missing | | | | | | |" for task in self.missing]
        return "\n".join(lines)


def _row(each: TaskScore) -> str:
    lower, upper = wilson_interval(each.correct, each.asked)
    return (
        f"| {each.task} | {each.accuracy.value:.2%} | {lower:.2%} to {upper:.2%} | {each.correct:,} | {each.asked:,} "
        f"| {each.too_long:,} | {each.baseline:.2%} | {each.centered:.4f} |"
    )
