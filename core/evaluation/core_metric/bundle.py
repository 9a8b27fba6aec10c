"""A bundle of CORE's tasks on disk, in the format of DCLM's evaluation bundle (Li et al., arXiv 2406.11794).

    core.yaml                icl_tasks: label, dataset_uri, num_fewshot, icl_task_type, continuation_delimiter
    eval_meta_data.csv       of each `Eval Task` its `Random baseline` in per cent
    eval_data/<dataset_uri>  one JSON object a line, its fields by the type of the task

Fields that nothing here needs (`has_categories`, aliases) are left unread: CORE, as nanochat computes it, draws and
counts over a task as a whole. A task whose data are not there is missing, which is a result; a line that is no example
is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as parsed_dataclass

from core.evaluation.core_metric.example import Example, TaskType, parse_example
from core.stages.context import StageError

DEFINITIONS = "core.yaml"
BASELINES = "eval_meta_data.csv"
DATA = "eval_data"
DELIMITER = " "  # where core.yaml has none


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: where its examples are, how they are shown, and the accuracy of guessing."""

    label: str
    type: TaskType
    path: str  # below eval_data
    shots: int  # solved examples before each question
    delimiter: str  # between a question and its answer
    baseline: float  # 0 to 1


@dataclass(frozen=True)
class Bundle:
    """The tasks of one folder, in the order of its core.yaml."""

    folder: Path
    title: str  # what tasks these are; empty where core.yaml has no `title`, as DCLM's has none
    tasks: tuple[Task, ...]

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Read the two descriptions; raise `StageError` for what is no bundle."""
        document, baselines = _document(folder / DEFINITIONS), _baselines(folder / BASELINES)
        return cls(folder, document.title, tuple(_task(line, baselines) for line in document.icl_tasks))

    @property
    def present(self) -> tuple[Task, ...]:
        """The tasks whose data are here."""
        return tuple(task for task in self.tasks if self.data(task).is_file())

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels of the tasks whose data are not here."""
        return tuple(task.label for task in self.tasks if not self.data(task).is_file())

    def data(self, task: Task) -> Path:
        """Where its examples are."""
        return self.folder / DATA / task.path

    def examples(self, task: Task) -> list[Example]:
        """All examples in the order of the file; raise `StageError` naming the line that is none."""
        path = self.data(task)
        found = []
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        found.append(parse_example(task.type, line))
                    except ValueError as error:
                        raise StageError(f"{DATA}/{task.path}: line {number} is no {task.type}: {error}") from error
        if len(found) <= task.shots:
            raise StageError(f"{DATA}/{task.path}: {len(found)} examples are too few for {task.shots} shots of others")
        return found


@parsed_dataclass(config=ConfigDict(extra="ignore"))
class _Line:
    """An entry of icl_tasks."""

    label: str
    dataset_uri: str
    num_fewshot: list[int]
    icl_task_type: TaskType
    continuation_delimiter: str = DELIMITER


@parsed_dataclass(config=ConfigDict(extra="ignore"))
class _Document:
    icl_tasks: list[_Line]
    title: str = ""


_DOCUMENT = TypeAdapter(_Document)


def _document(path: Path) -> _Document:
    try:
        document = _DOCUMENT.validate_python(yaml.safe_load(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise StageError(f"{path.parent} is no bundle of CORE: it has no {path.name}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StageError(f"{path}: {place}: {first['msg'][:1].lower()}{first['msg'][1:]}") from error
    except yaml.YAMLError as error:
        raise StageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    labels = [line.label for line in document.icl_tasks]
    if not labels or len(labels) != len(set(labels)):
        raise StageError(f"{path}: it must name at least one task and none twice")
    return document


def _task(line: _Line, baselines: Mapping[str, str | None]) -> Task:
    if len(line.num_fewshot) != 1 or line.num_fewshot[0] < 0:
        raise StageError(f"{DEFINITIONS}: {line.label} has num_fewshot {line.num_fewshot}; one number is asked for")
    path = PurePosixPath(line.dataset_uri)
    if path.is_absolute() or ".." in path.parts:
        raise StageError(f"{DEFINITIONS}: {line.label} has its data in {path}, which is not below {DATA}")
    return Task(
        label=line.label,
        type=line.icl_task_type,
        path=str(path),
        shots=line.num_fewshot[0],
        delimiter=line.continuation_delimiter,
        baseline=_baseline(line.label, baselines.get(line.label)),
    )


def _baseline(label: str, percent: str | None) -> float:
    try:
        baseline = float(percent or "") / 100
    except ValueError:
        baseline = float("nan")
    if not 0 <= baseline < 1:
        raise StageError(f"{BASELINES}: the random baseline of {label} is {percent!r}; a number below 100 is asked for")
    return baseline


def _baselines(path: Path) -> dict[str, str | None]:
    """The random baseline of each task in per cent, as it is written: only those of CORE's tasks need be numbers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["Eval Task"]: row["Random baseline"] for row in csv.DictReader(file)}
    except FileNotFoundError as error:
        raise StageError(f"{path.parent} is no bundle of CORE: it has no {path.name}") from error
    except KeyError as error:
        raise StageError(f"{path} has no column {error}") from error
