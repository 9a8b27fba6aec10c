"""Does lm-evaluation-harness, run on the Hugging Face export, find what our own evaluation found?

    python -m benchmarks.harness_agreement TAG [--json]

Takes the committed CORE of the tag's base model, writes its multiple-choice and language-modelling tasks as offline
tasks of the harness (a YAML file and JSON lines with the same prompts), has the harness ask the export, and compares
question by question: who was right, and how far apart the log-likelihoods are. The harness decides multiple choice by
the sum of log p where CORE takes the mean a token, so our raw lines are decided again by their sums. Its spans begin
where the query ends and ours where the options part, so differences between options are compared. Exits 1 unless all
counts are equal. Needs `miniseries[harness]`, and `miniseries run TAG` before.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from core.data.tokenizer import Tokenizer
from core.evaluation.core_metric.bundle import Bundle, Task
from core.evaluation.core_metric.outcome import Outcome, read_outcomes
from core.evaluation.core_metric.prompt import Prompter, shuffled
from core.evaluation.harness import Suite, evaluated
from core.evaluation.measurement import wilson_interval
from core.planning.catalogue import deliverable
from core.recipes.table import find_recipe
from core.stages.identity import CoreMetricIdentity
from tasks.settings import settings_from_environment

PREFIX = "agreement_"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One task, asked by both."""

    task: str
    questions: int
    right: int  # by our raw lines, decided as the harness decides
    right_by_core: int  # as CORE decides
    right_by_harness: int
    interval: tuple[float, float]  # of our share
    different: int  # questions that one has right and the other wrong
    largest_difference: float  # nats, between log-likelihoods


def main() -> int:
    """Compare, print, and say by the exit code whether all counts are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    agreements = compare(find_recipe(arguments.tag).tag)
    if arguments.json:
        json.dump([asdict(one) for one in agreements], sys.stdout, indent=1)
        print()
    else:
        print("| task | questions | right | by the harness | 95 % interval | different | nats apart | by CORE's rule |")
        print("|---|---|---|---|---|---|---|---|")
        for one in agreements:
            low, high = one.interval
            print(
                f"| {one.task} | {one.questions} | {one.right} | {one.right_by_harness} | {low:.4f} to {high:.4f} "
                f"| {one.different} | {one.largest_difference:.2g} | {one.right_by_core} |"
            )
    return 0 if all(one.right == one.right_by_harness for one in agreements) else 1


def compare(tag: str) -> list[Agreement]:
    """Ask the harness what CORE's raw lines hold already. Raises `StoreError`, `RecipeError`, `HarnessError`."""
    store, measured = settings_from_environment().open_store(), deliverable(tag, "core-metric-base")
    identity = measured.identity
    assert isinstance(identity, CoreMetricIdentity)
    with ExitStack() as stack:
        export, ours, *needs = (
            stack.enter_context(store.hold(stage.address))
            for stage in (
                deliverable(tag, "hf-base"),
                measured,
                measured.inputs["bundle"],
                measured.inputs["tokenizer"],
            )
        )
        bundle, tokenizer = Bundle.read(needs[0]), Tokenizer.load(needs[1])
        context = json.loads((ours / "core.json").read_text("utf-8"))["sequence_length"]
        by_task = {task.label: task for task in bundle.present if task.type != "schema"}
        outcomes = {label: [one for one in read_outcomes(ours) if one.task == label] for label in by_task}
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="miniseries-agreement-")))
        for task in by_task.values():
            _write_task(folder, _prompter(bundle, task, identity, tokenizer, context))
        suite = Suite(tasks=tuple(f"{PREFIX}{label}" for label in by_task), include=folder)
        samples = evaluated(export, suite)["samples"]
    return [_agreement(task, outcomes[label], samples[f"{PREFIX}{label}"]) for label, task in by_task.items()]


def _prompter(bundle: Bundle, task: Task, identity: CoreMetricIdentity, tokenizer: Tokenizer, context: int) -> Prompter:
    examples, _ = shuffled(bundle.examples(task), identity.shuffle_seed, identity.examples)
    return Prompter(
        task=task,
        examples=examples,
        shots_seed=identity.shots_seed,
        tokenizer=tokenizer,
        opening=(tokenizer.bos,),
        context_tokens=context,
    )


def _write_task(folder: Path, prompter: Prompter) -> None:
    """The task as the harness reads it; every question with its shots is one text."""
    task, lines = prompter.task, []
    for number, example in enumerate(prompter.examples):
        prompt = prompter.prompt(number)
        if prompt.cropped:
            raise SystemExit(f"{task.label}: question {number} is cropped, which the harness does in another way")
        answers = [option.after for option in example.options]
        whole = prompter.tokenizer.decode(prompt.spans[0].tokens[1:])
        lines.append({"context": whole.removesuffix(answers[0]), "choices": answers, "gold": example.gold})
    data = folder / f"{task.label}.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    definition = {
        "task": f"{PREFIX}{task.label}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{context}}",
        "target_delimiter": "",
        **_asked(task),
        "metadata": {"version": 1.0},
    }
    (folder / f"{task.label}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")


def _asked(task: Task) -> Mapping[str, object]:
    metrics = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    if task.type == "language_modeling":
        return {"output_type": "loglikelihood", "doc_to_target": "{{choices[0]}}", "metric_list": metrics}
    return {
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": metrics,
    }


def _agreement(task: Task, outcomes: Sequence[Outcome], samples: Sequence[Mapping[str, Any]]) -> Agreement:
    answers = {sample["doc_id"]: sample for sample in samples}
    verdicts = [(_right(task, one), bool(answers[one.number]["acc"])) for one in outcomes]
    right = sum(ours for ours, _ in verdicts)
    return Agreement(
        task=task.label,
        questions=len(outcomes),
        right=right,
        right_by_core=sum(one.correct for one in outcomes),
        right_by_harness=sum(theirs for _, theirs in verdicts),
        interval=wilson_interval(right, len(outcomes)),
        different=sum(ours != theirs for ours, theirs in verdicts),
        largest_difference=max(_apart(one, answers[one.number]) for one in outcomes),
    )


def _right(task: Task, outcome: Outcome) -> bool:
    if task.type == "language_modeling":
        return outcome.correct
    return outcome.log_likelihoods.index(max(outcome.log_likelihoods)) == outcome.gold


def _apart(outcome: Outcome, sample: Mapping[str, Any]) -> float:
    """Nats between both; of several options, between the differences to the first."""
    theirs = [float(response[0]) for response in sample["filtered_resps"]]
    ours = outcome.log_likelihoods
    if len(ours) > 1:
        theirs, ours = [one - theirs[0] for one in theirs], tuple(one - ours[0] for one in ours)
    return max(abs(one - other) for one, other in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    sys.exit(main())
