"""LongBench and NoLiMa from small files in their published format, on a mirror in a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from long_context_bench import MEASURED, TRAINED, Bench, some_texts

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.longbench import LongQuestion, f1, question_prompt
from core.evaluation.long_context.needles import Frame
from core.recipes.recipe import Benchmark, LongContext, PinnedFile
from core.stages.context import StageError

REVISION = "abc"
NEEDLES = [
    {
        "id": "0401",
        "reasoning_type": "world_knowledge",
        "system_prompt": "",
        "task_template": "{haystack} {question}",
        "needle": "Actually, {CHAR} lives next to {1}.",
        "character_set": ["Yuki", "Stuart", "Katie"],
        "questions": {"onehop": "Which character has been to {2}?", "twohop": "Which character has been to {3}?"},
        "tests": {
            "T1": {"input_args": ["the Kiasma museum", "Helsinki", "Uusimaa"]},
            "T2": {"input_args": ["the opera", "Dresden", "Saxony"]},
        },
    }
]
QUESTIONS = [
    {
        "_id": f"q{number}",
        "input": "Who walks?",
        "context": some_texts([900])[0],
        "answers": ["the river", "a stone"],
        "length": 900,
        "dataset": "qasper",
        "language": "en",
        "all_classes": None,
    }
    for number in range(3)
]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that has both."""
    root = tmp_path / "mirror"
    nolima = root / "datasets/amodaresi/NoLiMa/resolve" / REVISION
    longbench = root / "datasets/THUDM/LongBench/resolve" / REVISION
    for folder in (nolima / "needlesets", nolima / "haystack/rand_shuffle", longbench):
        folder.mkdir(parents=True)
    (nolima / "needlesets/needle_set.json").write_text(json.dumps(NEEDLES))
    (nolima / "haystack/rand_shuffle/rand_book_1.txt").write_text(some_texts([3000])[0])
    with ZipFile(longbench / "data.zip", "w") as archive:
        lines = [json.dumps(question) for question in QUESTIONS]
        archive.writestr("data/qasper.jsonl", "\n".join(lines) + "\n")
        archive.writestr("data/gov_report.jsonl", json.dumps({"input": "not of ours"}))
    monkeypatch.setenv("MINISERIES_MIRROR", str(root))
    return root


def pinned(folder: Path, *paths: str) -> tuple[PinnedFile, ...]:
    return tuple(
        PinnedFile(path=path, sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest()) for path in paths
    )


def measured_with(mirror: Path) -> LongContext:
    nolima = mirror / "datasets/amodaresi/NoLiMa/resolve" / REVISION
    longbench = mirror / "datasets/THUDM/LongBench/resolve" / REVISION
    books = pinned(nolima, "needlesets/needle_set.json", "haystack/rand_shuffle/rand_book_1.txt")
    return replace(
        MEASURED,
        factors=(2, 8),
        needle_trials=1,
        answer_tokens=90,
        documents=1,
        fitting_documents=1,
        benchmarks=(
            Benchmark(name="nolima", revision=REVISION, files=books, questions=4),
            Benchmark(name="longbench", revision=REVISION, files=pinned(longbench, "data.zip"), questions=2),
        ),
    )


def test_a_chat_model_is_asked_both(bench: Bench, mirror: Path) -> None:
    folder, _ = bench.run("sft", use_rope=False, measured=measured_with(mirror))
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for kind, places in (("nolima-onehop", ("Helsinki", "Dresden")), ("nolima-twohop", ("Uusimaa", "Saxony"))):
        of_kind = [one for one in trials if (one["kind"], one["method"], one["factor"]) == (kind, "plain", 8)]
        assert len(of_kind) == 4
        for one in of_kind:
            (needle,), (query,) = one["needles"], one["queries"]
            (name,) = query["wanted"]
            assert query["candidates"] == ["Yuki", "Stuart", "Katie"]
            assert needle["text"] in {
                f"Actually, {name} lives next to {at}." for at in ("the Kiasma museum", "the opera")
            }
            assert one["chance"] == pytest.approx(1 / 3)
            assert not any(place in needle["text"] for place in places)
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert {(one["method"], one["factor"]) for one in answers} == {("plain", 8), ("logit-scale", 8)}
    for one in answers:
        assert one["task"] == "qasper"
        assert one["prompt_tokens"] <= one["factor"] * TRAINED - 90
        assert one["f1"] == f1(one["answer"], ["the river", "a stone"])
    document: dict[str, Any] = json.loads((folder / "long_context.json").read_text())
    score = next(row for row in document["tables"]["scores"] if (row["method"], row["factor"]) == ("plain", 8))
    mine = [one["f1"] for one in answers if (one["method"], one["factor"]) == ("plain", 8)]
    assert score["result"]["value"] == pytest.approx(sum(mine) / 2)
    assert score["result"]["sample_size"] == 2
    missing = {one["what"] for one in document["missing"]}
    assert not {"nolima", "longbench"} & missing
    assert "longbench at 2x: 2 of 2" in missing  # 38 tokens hold no more than the question


def test_a_base_model_is_asked_nolima_by_likelihood_only(bench: Bench, mirror: Path) -> None:
    folder, _ = bench.run("base", use_rope=True, measured=measured_with(mirror))
    kinds = {json.loads(line)["kind"] for line in (folder / "trials.jsonl").read_text().splitlines()}
    assert {"nolima-onehop", "nolima-twohop"} <= kinds
    missing = {one["what"]: one["why"] for one in json.loads((folder / "long_context.json").read_text())["missing"]}
    assert "can chat" in missing["longbench"]


def test_a_file_with_another_digest_is_refused(bench: Bench, mirror: Path) -> None:
    measured = measured_with(mirror)
    (mirror / "datasets/amodaresi/NoLiMa/resolve" / REVISION / "needlesets/needle_set.json").write_text("[]")
    with pytest.raises(StageError, match=r"needle_set.json: its sha256 is .*, not .*; correct the file or the recipe"):
        bench.run("base", use_rope=True, measured=measured)


def test_data_that_the_recipe_names_and_nobody_has_is_an_error_and_no_missing_number(
    bench: Bench, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measured_with(mirror)
    monkeypatch.delenv("MINISERIES_MIRROR")
    with pytest.raises(StageError, match="set MINISERIES_MIRROR to a folder or bucket"):
        bench.run("base", use_rope=True, measured=measured)


def test_a_needle_set_of_another_format_names_its_file(bench: Bench, mirror: Path) -> None:
    path = mirror / "datasets/amodaresi/NoLiMa/resolve" / REVISION / "needlesets/needle_set.json"
    path.write_text(json.dumps([{"needle": "x", "questions": {"onehop": "y"}, "tests": {"T": {}}}]))
    with pytest.raises(StageError, match=r"needle_set.json is no needle set of NoLiMa: KeyError: 'input_args'"):
        bench.run("base", use_rope=True, measured=measured_with(mirror))


def test_a_context_that_does_not_fit_loses_its_middle(tokenizer: Tokenizer) -> None:
    frame = Frame(before=(1, 2), after=(3,), asks=True)
    question = LongQuestion(task="qasper", id="q", context="abcdefgh" * 20, question="Why?", answers=("x",))
    prompt = question_prompt(question, tokenizer, frame, 80)
    assert len(prompt) <= 80
    text = tokenizer.decode(prompt[2:-1])
    assert text.startswith("abcdefgh")
    assert text.endswith("efgh\n\nAnswer in a few words: Why?")
    whole = question_prompt(question, tokenizer, frame, 1000)
    assert tokenizer.decode(whole[2:-1]) == f"{question.context}\n\nAnswer in a few words: Why?"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("The river.", 1.0), ("river stone", 2 / 3), ("a stone, the river", 2 / 3), ("mountain", 0.0), ("", 0.0)],
)
def test_f1_compares_words_without_articles_and_punctuation(answer: str, expected: float) -> None:
    assert f1(answer, ["the river", "a stone"]) == pytest.approx(expected)
