"""Standard suites by lm-evaluation-harness, on a Hugging Face export: numbers that compare with the literature.

The harness is an extra (`pip install 'miniseries[harness]'`), loaded when it is asked for. Its `hf` backend runs the
export's own code, in one process, every text opened by bos. What is kept of its answer are the metrics of each task
with a 95 % interval, the version of the task, where its data come from, and how many questions were asked of how many.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.evaluation.measurement import Z_95, Measurement, wilson_interval
from core.stages.context import StageError

PROPORTIONS = ("acc", "acc_norm", "exact_match")  # counts of questions: their intervals are Wilson's
BATCH_SIZE = 16
DATA = ("dataset_path", "dataset_name", "dataset_kwargs", "test_split", "validation_split")  # of a task's definition


class HarnessError(StageError):
    """The harness cannot be run: one line."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is asked: tasks by name, also those defined by YAML files in the folder `include`."""

    tasks: tuple[str, ...]
    include: Path | None = None
    limit: int | None = None  # of questions of each task; None: all


@dataclass(frozen=True, kw_only=True)
class HarnessMetric:
    """One metric of one task."""

    task: str
    metric: str  # as the harness calls it, e.g. acc_norm; with its filter where it has one
    result: Measurement


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """What the harness found."""

    harness_version: str
    metrics: tuple[HarnessMetric, ...]
    tasks: Mapping[str, Mapping[str, object]]  # task -> version, shots, questions, asked, data


def run_harness(export: Path, suite: Suite) -> HarnessResult:
    """Ask the model in the folder `export`; raise `HarnessError` without the extra, or for a task that there is not."""
    answer = evaluated(export, suite)
    counts = answer["n-samples"]
    tasks = {
        task: {
            "version": answer["versions"].get(task),
            "shots": answer["n-shot"].get(task),
            "questions": counts[task]["original"],
            "asked": counts[task]["effective"],
            "data": {name: config[name] for name in DATA if config.get(name) is not None},
        }
        for task, config in answer["configs"].items()
    }
    return HarnessResult(
        harness_version=_harness().__version__, metrics=tuple(_metrics(answer["results"], tasks)), tasks=tasks
    )


def evaluated(export: Path, suite: Suite) -> Mapping[str, Any]:
    """The harness's own answer, with every question (`samples`). Raises `HarnessError`."""
    harness = _harness()
    import torch
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=None if suite.include is None else str(suite.include))
    if unknown := [task for task in suite.tasks if not manager.match_tasks([task])]:
        raise HarnessError(f"the harness has no task {', '.join(unknown)}; `lm_eval ls tasks` lists them, or --include")
    with redirect_stdout(sys.stderr):  # standard output is for the result
        try:
            found: Mapping[str, Any] = harness.simple_evaluate(
                model="hf",
                model_args={"pretrained": str(export), "trust_remote_code": True, "add_bos_token": True},
                tasks=list(suite.tasks),
                task_manager=manager,
                limit=suite.limit,
                batch_size=BATCH_SIZE,
                device="cuda" if torch.cuda.is_available() else "cpu",
            )
        except OSError as error:  # of the data sets that the tasks load
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise HarnessError(f"{', '.join(suite.tasks)}: {reason}; see to the data of these tasks") from error
    return found


def _harness() -> Any:
    try:
        import lm_eval
    except ImportError as error:
        raise HarnessError(
            "lm-evaluation-harness is not installed; pip install 'miniseries[harness]', here or in another environment"
        ) from error
    return lm_eval


def _metrics(results: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, Any]) -> Iterator[HarnessMetric]:
    for task, values in results.items():
        for name, value in values.items():
            metric, _, selection = name.partition(",")
            if not selection or "_stderr" in metric or not isinstance(value, (int, float)) or task not in tasks:
                continue  # a spread, a count, or the mean of a group of tasks
            asked, spread = tasks[task]["asked"], values.get(f"{metric}_stderr,{selection}")
            yield HarnessMetric(
                task=task,
                metric=metric if selection == "none" else f"{metric} ({selection})",
                result=Measurement(
                    value=float(value),
                    unit="share of answers right" if metric in PROPORTIONS else metric,
                    sample_size=asked,
                    sample_unit="questions",
                    interval=_interval(metric, float(value), asked, spread),
                ),
            )


def _interval(metric: str, value: float, asked: int, spread: object) -> tuple[float, float] | None:
    """Wilson's for a share of questions, else 1.96 standard errors about the value; None where there are none."""
    right = round(value * asked)
    if metric in PROPORTIONS and abs(right - value * asked) < 1e-6:
        return wilson_interval(right, asked)
    if not isinstance(spread, (int, float)):
        return None
    return value - Z_95 * spread, value + Z_95 * spread
