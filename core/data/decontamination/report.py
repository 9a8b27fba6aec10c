"""The report: per task how many questions share an n-gram with the training rows, and where; as JSON and to read.

`decontamination.json` has all numbers; of the questions that overlap, the first few of each task are listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from core.data.decontamination.evaluation_ngrams import EvaluationNgrams, QuestionName
from core.data.decontamination.search import Found, Place

LISTED = 100  # overlapping questions of a task
SOURCE = "Brown et al. 2020, Language Models are Few-Shot Learners, appendix C"


@dataclass(frozen=True, kw_only=True)
class TaskOverlap:
    """One task: its questions, and its distinct n-grams."""

    questions: int
    too_short: int  # no message of n words, so nothing can be said of them
    overlapping: int  # share at least one n-gram with the training rows
    ngrams: int
    overlapping_ngrams: int

    @property
    def share(self) -> float:
        """Overlapping questions among those of which something can be said."""
        return _share(self.overlapping, self.questions - self.too_short)


@dataclass(frozen=True, kw_only=True)
class QuestionOverlap:
    """One question, and the first of its n-grams that stands in the training rows, where that is first."""

    question: QuestionName
    ngrams: int
    overlapping_ngrams: int
    ngram: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that was found. Questions are in the order of their tasks."""

    ngram: int
    rows_of_stream: int  # that training reads, each as often as it does
    found: Found
    tasks: Mapping[str, TaskOverlap]
    questions: tuple[QuestionOverlap, ...]  # at most LISTED of a task

    def json(self) -> dict[str, object]:
        """The content of `decontamination.json`."""
        return {
            "ngram": self.ngram,
            "method": f"words in lower case without punctuation, {self.ngram} in a row ({SOURCE})",
            "read": {
                "rows": self.found.rows,
                "rows_of_training": self.rows_of_stream,
                "tokens": self.found.tokens,
                "documents": self.found.documents,
                "files": self.found.files,
            },
            "tasks": {name: {**asdict(task), "share": task.share} for name, task in self.tasks.items()},
            "listed_of_a_task": LISTED,
            "overlaps": [_overlap(question) for question in self.questions],
        }


def make_report(ngrams: EvaluationNgrams, found: Found, rows_of_stream: int) -> Report:
    """Count what was found, task by task and question by question."""
    is_found = np.zeros(len(ngrams), np.bool_)
    is_found[list(found.places)] = True
    held = np.bincount(ngrams.pairs[:, 1], minlength=len(ngrams.names))
    overlapping = np.bincount(ngrams.pairs[:, 1], weights=is_found[ngrams.pairs[:, 0]], minlength=len(ngrams.names))
    task_of = {name: number for number, name in enumerate(dict.fromkeys(name.task for name in ngrams.names))}
    owners = np.array([task_of[name.task] for name in ngrams.names], np.int64)
    distinct = np.unique(np.stack((ngrams.pairs[:, 0], owners[ngrams.pairs[:, 1]]), axis=1), axis=0)
    tasks = {
        task: TaskOverlap(
            questions=int((owners == number).sum()),
            too_short=int((held[owners == number] == 0).sum()),
            overlapping=int((overlapping[owners == number] > 0).sum()),
            ngrams=int((distinct[:, 1] == number).sum()),
            overlapping_ngrams=int(is_found[distinct[distinct[:, 1] == number, 0]].sum()),
        )
        for task, number in task_of.items()
    }
    return Report(
        ngram=ngrams.ngram,
        rows_of_stream=rows_of_stream,
        found=found,
        tasks=tasks,
        questions=tuple(_questions(ngrams, found, held.astype(int).tolist(), overlapping.astype(int).tolist())),
    )


def render_report(report: Report) -> str:
    """The content of `decontamination.md`."""
    sections = [
        "# Overlap of evaluation and training text",
        f"A question overlaps when {report.ngram} words in a row of one of its messages, in lower case and without "
        f"punctuation, stand in one document of the rows that pretraining reads ({SOURCE}). Nothing was removed.",
        _reading(report),
        _table(report),
        "## Questions that overlap",
        f"The first {LISTED} of each task at most, with the first of their n-grams that was found and its first place. "
        "Questions of a task and rows of a file are numbered from 0.",
        "\n".join(map(_line, report.questions)) or "None.",
    ]
    return "\n\n".join(sections) + "\n"


def _reading(report: Report) -> str:
    found, rows = report.found, report.rows_of_stream
    again = ", some of them again" if rows > found.rows else ""
    return (
        f"Read: {found.rows:,} packed rows, {found.tokens:,} tokens of {found.documents:,} documents, from "
        f"{len(found.files):,} files ({found.files[0]} to {found.files[-1]}). Training reads {rows:,} rows{again}."
    )


def _table(report: Report) -> str:
    short = f"of fewer than {report.ngram} words"
    head = ("task", "questions", short, "overlapping", "share", "n-grams", "overlapping n-grams")
    rows = [
        (
            name,
            f"{task.questions:,}",
            f"{task.too_short:,}",
            f"{task.overlapping:,}",
            f"{task.share:.2%}",
            f"{task.ngrams:,}",
            f"{task.overlapping_ngrams:,} ({_share(task.overlapping_ngrams, task.ngrams):.2%})",
        )
        for name, task in report.tasks.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _questions(
    ngrams: EvaluationNgrams, found: Found, held: list[int], overlapping: list[int]
) -> list[QuestionOverlap]:
    """The overlapping questions in order, as many of each task as are listed."""
    listed: Counter[str] = Counter()
    seen: set[int] = set()
    overlaps = []
    for index, question in ngrams.pairs.tolist():
        name = ngrams.names[question]
        if index not in found.places or question in seen or listed[name.task] == LISTED:
            continue
        seen.add(question)
        listed[name.task] += 1
        overlaps.append(
            QuestionOverlap(
                question=name,
                ngrams=held[question],
                overlapping_ngrams=overlapping[question],
                ngram=ngrams.text(index),
                place=found.places[index],
            )
        )
    return overlaps


def _overlap(overlap: QuestionOverlap) -> dict[str, object]:
    return {
        "task": overlap.question.task,
        "question": overlap.question.number,
        "ngrams": overlap.ngrams,
        "overlapping_ngrams": overlap.overlapping_ngrams,
        "ngram": overlap.ngram,
        **asdict(overlap.place),
    }


def _line(overlap: QuestionOverlap) -> str:
    question, place = overlap.question, overlap.place
    counts = f"{overlap.overlapping_ngrams} of {overlap.ngrams} n-grams"
    return f"- {question.task} {question.number}: {counts}; `{overlap.ngram}` in {place.file}, row {place.row:,}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
