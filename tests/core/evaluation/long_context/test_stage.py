"""The whole stage on toy models: its tables follow from its raw lines, and what is missing is said to be missing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest
from long_context_bench import MEASURED, TRAINED, Bench

from core.evaluation.long_context import stage
from core.evaluation.long_context.tables import Raw, make_tables
from core.stages.context import Metrics, StageError

FILES = ["answers.jsonl", "long_context.json", "long_context.md", "positions.jsonl", "trials.jsonl"]
ROPE = ["plain", "position-interpolation", "ntk-aware", "yarn"]

Run = tuple[Path, Metrics]


@pytest.fixture(scope="module")
def base(shared_bench: Callable[[], Bench]) -> Run:
    """A base model with RoPE."""
    return shared_bench().run("base", use_rope=True)


@pytest.fixture(scope="module")
def chat(shared_bench: Callable[[], Bench]) -> Run:
    """A fine-tune without RoPE, asked at two lengths."""
    return shared_bench().run("sft", use_rope=False, measured=replace(MEASURED, factors=(4, 8)))


def document_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run[0] / "long_context.json").read_text())
    return found


def lines_of(run: Run, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run[0] / name).read_text().splitlines()]


def wilson(right: int, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    p = right / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


@pytest.mark.parametrize("which", ["base", "chat"])
def test_bits_per_byte_by_position_are_the_sums_of_the_raw_lines(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    sums: defaultdict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for line in lines_of(run, "positions.jsonl"):
        for first, end in ((line["first"], line["end"]), (None, None)):
            sums_here = sums[line["method"], line["factor"], first, end]
            sums_here[0] += line["nats"]
            sums_here[1] += line["bytes"]
    rows = document_of(run)["tables"]["positions"]
    assert {(row["method"], row["factor"], row["first"], row["end"]) for row in rows} == set(sums)
    for row in rows:
        nats, size, _ = sums[row["method"], row["factor"], row["first"], row["end"]]
        assert row["result"]["value"] == pytest.approx(nats / log(2) / size)
        assert row["result"]["sample_size"] == size
        assert row["texts"] == MEASURED.documents
        low, high = row["result"]["interval"]
        assert low <= row["result"]["value"] <= high


@pytest.mark.parametrize("which", ["base", "chat"])
def test_rates_of_needles_are_counted_again_from_the_raw_lines(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    counts: defaultdict[tuple[Any, ...], list[bool]] = defaultdict(list)
    for line in lines_of(run, "trials.jsonl"):
        likely = [
            min(query["log_likelihoods"][query["candidates"].index(word)] for word in query["wanted"])
            > max(
                value
                for word, value in zip(query["candidates"], query["log_likelihoods"], strict=True)
                if word not in query["wanted"]
            )
            for query in line["queries"]
        ]
        verdicts = {"likelihood": all(likely)}
        if line["answer"] is not None:
            named = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in line["answer"]).split()
            verdicts["writing"] = all(word in named for query in line["queries"] for word in query["wanted"])
        for by, right in verdicts.items():
            for depth in (None, line["depth"]):
                counts[line["method"], line["factor"], line["kind"], by, depth].append(right)
    rows = document_of(run)["tables"]["rates"]
    assert {(row["method"], row["factor"], row["kind"], row["by"], row["depth"]) for row in rows} == set(counts)
    for row in rows:
        verdicts = counts[row["method"], row["factor"], row["kind"], row["by"], row["depth"]]
        result = row["result"]
        assert result["value"] == pytest.approx(sum(verdicts) / len(verdicts))
        assert result["sample_size"] == len(verdicts)
        assert result["interval"] == pytest.approx(wilson(sum(verdicts), len(verdicts)))


def test_every_length_is_read_in_every_way_of_a_model_with_rope(base: Run) -> None:
    read = {(row["factor"], row["method"]) for row in document_of(base)["tables"]["positions"]}
    assert read == {(1, "plain"), *((factor, method) for factor in (2, 4, 8) for method in ROPE)}
    assert document_of(base)["logit_scale"] is None
    assert sorted(path.name for path in base[0].iterdir()) == FILES


def test_a_model_without_rope_gets_a_logit_scale_that_is_kept_with_how_it_was_found(chat: Run) -> None:
    document = document_of(chat)
    assert {row["method"] for row in document["tables"]["positions"]} == {"plain", "logit-scale"}
    scale = document["logit_scale"]
    assert scale["T"] == TRAINED
    best = min(scale["tried"], key=lambda one: one["bits_per_byte"])
    assert scale["c"] == best["coefficient"]
    assert scale["fitted_on_texts"] == MEASURED.fitting_documents


def test_only_a_model_that_can_chat_is_asked_to_write(base: Run, chat: Run) -> None:
    assert {line["answer"] for line in lines_of(base, "trials.jsonl")} == {None}
    assert all(isinstance(line["answer"], str) for line in lines_of(chat, "trials.jsonl"))


def test_prompts_have_the_length_that_they_say(base: Run, chat: Run) -> None:
    for run in (base, chat):
        for line in lines_of(run, "trials.jsonl"):
            assert line["length"] == line["factor"] * TRAINED
            assert line["prompt_tokens"] == line["length"] - MEASURED.answer_tokens


def test_what_does_not_fit_and_what_is_not_there_is_missing_and_no_zero(base: Run) -> None:
    document = document_of(base)
    missing = {one["what"]: one["why"] for one in document["missing"]}
    assert missing["single at 1x: 3 of 3"].endswith("do not fit into 64 tokens")
    assert "nolima" in missing
    assert "longbench" in missing
    assert not [row for row in document["tables"]["rates"] if row["factor"] == 1 and row["kind"] == "single"]
    assert "| single at 1x: 3 of 3 |" in (base[0] / "long_context.md").read_text()


def test_the_documents_that_were_read_are_recorded(base: Run) -> None:
    for one in document_of(base)["documents"]:
        assert one["tokens"] == one["factor"] * TRAINED
        assert len(one["texts"]) == MEASURED.documents
        assert all(text["concatenated"] == (len(text["documents"]) > 1) for text in one["texts"])


def test_metrics_are_the_overall_numbers(base: Run) -> None:
    rows = document_of(base)["tables"]["positions"]
    overall = {f"{row['method']}/{row['factor']}x": row["result"]["value"] for row in rows if row["first"] is None}
    assert {name: base[1][f"bits_per_byte/{name}"] for name in overall} == overall


def test_the_tables_are_made_again_from_the_folder(chat: Run) -> None:
    again = json.loads(json.dumps(make_tables(Raw.read(chat[0]), MEASURED.seed).listing()))
    assert again == document_of(chat)["tables"]


def test_a_stage_that_was_killed_goes_on_and_leaves_the_same_bytes(bench: Bench) -> None:
    measured = replace(MEASURED, factors=(1, 4))
    whole, _ = Bench(_folder(bench, "whole"), bench.tokenizer, bench.build).run(
        "base", use_rope=False, measured=measured
    )
    with pytest.raises(KeyboardInterrupt):
        stage.produce(bench.context("base", use_rope=False, measured=measured, most=3))
    again = bench.context("base", use_rope=False, measured=measured)
    parts = sum(len((saved.path / "parts.jsonl").read_text().splitlines()) for saved in again.checkpoints.every())
    assert parts == 3
    stage.produce(again)
    for name in FILES:
        assert (again.output / name).read_bytes() == (whole / name).read_bytes()


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.root / name
    folder.mkdir()
    return folder


def test_a_model_of_both_directions_is_asked_forward_and_one_that_reads_backward_is_not_asked(bench: Bench) -> None:
    small = replace(MEASURED, factors=(8,), needle_trials=1, documents=1, fitting_documents=1)
    both = bench.run("base", use_rope=True, direction="bidirectional", measured=small)
    assert {line["kind"] for line in lines_of(both, "trials.jsonl")} >= {"single", "passkey"}
    backward = bench.run("base", use_rope=True, direction="backward", measured=small)
    assert lines_of(backward, "trials.jsonl") == []
    assert "needles" in {one["what"] for one in document_of(backward)["missing"]}
    assert lines_of(backward, "positions.jsonl")


def test_too_little_held_out_text_leaves_lengths_out_and_says_so(bench: Bench) -> None:
    run = bench.run("base", use_rope=False, texts=["some words " * 5, "more of them " * 5])
    document = document_of(run)
    missing = {one["what"]: one["why"] for one in document["missing"]}
    assert missing["bits per byte at 8x: 3 of 3 texts"] == "the held-out documents fill only 0 texts of 512 tokens"
    assert "logit scale" in missing
    assert {row["factor"] for row in document["tables"]["positions"]} == {1}


def test_a_shard_without_text_is_one_clear_error(bench: Bench) -> None:
    with pytest.raises(StageError, match="shard 3 holds no text to measure on"):
        bench.run("base", use_rope=True, texts=["", ""])


def test_another_seed_asks_about_other_things(bench: Bench) -> None:
    asked: list[Mapping[str, Any]] = []
    for seed in (1, 2):
        small = replace(MEASURED, factors=(8,), needle_trials=1, documents=1, seed=seed)
        asked.append(lines_of(bench.run("base", use_rope=True, measured=small), "trials.jsonl")[0])
    assert asked[0]["needles"] != asked[1]["needles"]
