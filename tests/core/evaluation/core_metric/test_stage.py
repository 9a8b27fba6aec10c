"""The whole stage on a toy model: what it says is what one reads off the softmax, one question at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import yaml
from core_bench import ASKED, CONTEXT, COUNTS, GIVEN, Bench, Given, write_bundle

from core.evaluation.core_metric import stage
from core.stages.context import StageError

FILES = ["core.json", "core.md", "outcomes.jsonl"]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]


def document_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "core.json").read_text())
    return found


class Reference:
    """CORE's questions asked one option at a time, straight from a bundle's files: the format in other words."""

    def __init__(self, bench: Bench, bundle: Path, opening: list[int]) -> None:
        self._bench, self._bundle, self._opening = bench, bundle, opening
        with (bundle / "eval_meta_data.csv").open(newline="") as file:
            self.baselines = {row["Eval Task"]: float(row["Random baseline"]) / 100 for row in csv.DictReader(file)}

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """Task, number, gold, chosen and log-likelihoods in the order of the raw lines."""
        for task in yaml.safe_load((self._bundle / "core.yaml").read_text())["icl_tasks"]:
            text = (self._bundle / "eval_data" / task["dataset_uri"]).read_text()
            examples = [json.loads(line) for line in text.splitlines()]
            Random(1337).shuffle(examples)
            for number in range(len(examples)):
                gold = examples[number].get("gold", 0)
                chosen, likelihoods = self._asked(task, examples, number)
                yield {
                    "task": task["label"],
                    "number": number,
                    "gold": gold,
                    "chosen": chosen,
                    "log_likelihoods": likelihoods,
                }

    def _asked(self, task: dict[str, Any], examples: list[Any], number: int) -> tuple[int | None, list[float]]:
        others = [index for index in range(len(examples)) if index != number]
        drawn = Random(1234 + number).sample(others, task["num_fewshot"][0])
        between = task.get("continuation_delimiter", " ")
        shots = [self._texts(task, examples[index], between)[examples[index].get("gold", 0)] for index in drawn]
        texts = ["\n\n".join([*shots, text]) for text in self._texts(task, examples[number], between)]
        wholes = [self._encoded(text) for text in texts]
        if task["icl_task_type"] == "language_modeling":
            unanswered = "\n\n".join([*shots, examples[number]["context"].strip() + between]).strip()
            total, _, hits = self._read(wholes[0], len(self._encoded(unanswered)))
            return (0 if hits else None), [total]
        if task["icl_task_type"] == "multiple_choice":
            start = next(i for i, column in enumerate(zip(*wholes, strict=False)) if len(set(column)) > 1)
            starts = [start] * len(wholes)
        else:
            turned = [whole[::-1] for whole in wholes]
            same = next(i for i, column in enumerate(zip(*turned, strict=False)) if len(set(column)) > 1)
            starts = [len(whole) - same for whole in wholes]
        read = [self._read(whole, start) for whole, start in zip(wholes, starts, strict=True)]
        means = [total / count for total, count, _ in read]
        return max(range(len(means)), key=means.__getitem__), [total for total, _, _ in read]

    def _texts(self, task: dict[str, Any], example: Mapping[str, Any], between: str) -> list[str]:
        match task["icl_task_type"]:
            case "multiple_choice":
                return [example["query"] + between + choice for choice in example["choices"]]
            case "schema":
                return [context + between + example["continuation"] for context in example["context_options"]]
            case _:
                return [example["context"].strip() + between + example["continuation"]]

    def _encoded(self, text: str) -> list[int]:
        return [*self._opening, *self._bench.tokenizer.encode(text)]

    def _read(self, tokens: list[int], start: int) -> tuple[float, int, bool]:
        """Sum of log p from `start` on, how many tokens that is, and whether each is the likeliest."""
        cut = max(0, len(tokens) - CONTEXT)
        tokens, start = tokens[cut:], max(1, start - cut)
        with torch.inference_mode():
            p = self._bench.model(torch.tensor([tokens]))[0].double().softmax(-1)
        places = range(start, len(tokens))
        total = sum(float(p[place - 1, tokens[place]].log()) for place in places)
        return total, len(places), all(int(p[place - 1].argmax()) == tokens[place] for place in places)


@pytest.mark.parametrize("which", ["bench", "directed_bench"])
def test_every_likelihood_and_choice_is_that_of_one_question_at_a_time(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bench = request.getfixturevalue(which)
    bundle = write_bundle(tmp_path / "bundle")
    directed = which == "directed_bench"
    folder, _ = bench.run(bundle, direction="bidirectional" if directed else "forward")
    opening = [bench.tokenizer.bos, *([bench.tokenizer.special("<|forward|>")] if directed else [])]
    lines, expected = lines_of(folder), list(Reference(bench, bundle, opening).outcomes())
    assert len(lines) == sum(len(task.lines or ()) for task in GIVEN.values())
    for line, wanted in zip(lines, expected, strict=True):
        assert {name: line[name] for name in ("task", "number", "gold", "chosen")} == {
            name: wanted[name] for name in ("task", "number", "gold", "chosen")
        }
        assert line["log_likelihoods"] == pytest.approx(wanted["log_likelihoods"], rel=1e-4)
        assert line["correct"] == (line["chosen"] == line["gold"])


def test_core_is_the_mean_of_what_each_task_is_above_guessing(bench: Bench, tmp_path: Path) -> None:
    folder, metrics = bench.run(write_bundle(tmp_path / "bundle"))
    document, centered, below, above = document_of(folder), [], 0.0, 0.0
    for label, task in GIVEN.items():
        verdicts = [line["correct"] for line in lines_of(folder) if line["task"] == label]
        accuracy, guessing, n = sum(verdicts) / len(verdicts), task.baseline / 100, len(verdicts)
        measured = document["results"][f"accuracy/{label}"]
        assert measured["value"] == pytest.approx(accuracy)
        assert measured["sample_size"] == n
        low, high = wilson(sum(verdicts), n)
        assert measured["interval"] == pytest.approx([low, high])
        centered.append((accuracy - guessing) / (1 - guessing))
        below += ((accuracy - low) / (1 - guessing) / len(GIVEN)) ** 2
        above += ((high - accuracy) / (1 - guessing) / len(GIVEN)) ** 2
    core = document["results"]["core"]
    assert core["value"] == pytest.approx(sum(centered) / len(centered)) == metrics["core"]
    assert core["interval"] == pytest.approx([core["value"] - sqrt(below), core["value"] + sqrt(above)])
    assert core["sample_size"] == len(GIVEN)


def wilson(right: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, right / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def test_a_task_without_data_is_missing_and_not_in_the_mean(bench: Bench, tmp_path: Path) -> None:
    given = {**GIVEN, "absent": Given(type="multiple_choice", lines=None, baseline=25)}
    folder, metrics = bench.run(write_bundle(tmp_path / "bundle", given))
    document = document_of(folder)
    assert document["missing"] == ["absent"]
    assert "absent" not in document["tasks"]
    assert document["results"]["core"]["sample_size"] == len(GIVEN)
    assert "accuracy/absent" not in metrics
    assert "| absent | missing |" in (folder / "core.md").read_text()


def test_what_is_longer_than_the_context_loses_its_beginning_and_is_counted(bench: Bench, tmp_path: Path) -> None:
    long = {"query": "far too long " * 20, "choices": ["yes", "no"], "gold": 0}
    short = {"query": "short", "choices": ["yes", "no"], "gold": 1}
    given = {"lengths": Given(type="multiple_choice", lines=[long, short], baseline=50)}
    bundle = write_bundle(tmp_path / "bundle", given)
    folder, _ = bench.run(bundle)
    assert document_of(folder)["tasks"]["lengths"]["cropped"] == 1
    lines = lines_of(folder)
    assert sorted((line["line"], line["cropped"]) for line in lines) == [(0, True), (1, False)]
    expected = list(Reference(bench, bundle, [bench.tokenizer.bos]).outcomes())
    for line, wanted in zip(lines, expected, strict=True):
        assert line["log_likelihoods"] == pytest.approx(wanted["log_likelihoods"], rel=1e-4)


def test_as_many_examples_as_are_wanted_are_asked_and_shown(bench: Bench, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    folder, _ = bench.run(bundle, asked=replace(ASKED, examples=4))
    lines = lines_of(folder)
    assert [line["number"] for line in lines] == [0, 1, 2, 3] * 3
    order = list(range(len(COUNTS)))
    Random(1337).shuffle(order)
    assert [line["line"] for line in lines if line["task"] == "counts"] == order[:4]
    with pytest.raises(StageError, match="counts shows 3 solved examples; ask more than 3 of it"):
        bench.run(bundle, asked=replace(ASKED, examples=3))


def test_a_stage_that_was_killed_goes_on_and_leaves_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    whole, _ = bench.run(bundle)
    with pytest.raises(KeyboardInterrupt):
        stage.produce(bench.context(bundle, most=2))
    again = bench.context(bundle)
    assert len(again.checkpoints.every()) == 2
    stage.produce(again)
    for name in FILES:
        assert (again.output / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in again.output.iterdir()) == FILES


def test_the_files_of_the_bundle_and_what_it_calls_itself_are_told(bench: Bench, tmp_path: Path) -> None:
    folder, _ = bench.run(write_bundle(tmp_path / "bundle", title="toy tasks"))
    bundle = document_of(folder)["bundle"]
    assert bundle["title"] == "toy tasks"
    assert [file["path"] for file in bundle["files"]] == sorted(
        ["core.yaml", "eval_meta_data.csv", *(f"eval_data/some/{label}.jsonl" for label in GIVEN)]
    )
    assert f"toy tasks: 5 files, sha256 `{bundle['sha256']}`" in (folder / "core.md").read_text()


def test_a_bundle_without_any_data_is_one_clear_error(bench: Bench, tmp_path: Path) -> None:
    given = {"absent": Given(type="schema", lines=None)}
    with pytest.raises(StageError, match="the data of none of its tasks"):
        bench.run(write_bundle(tmp_path / "bundle", given))
