"""Both suites on a toy model: their numbers, their pages, and that a second run writes the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.evaluation.bits_per_byte import bits_per_byte
from core.inference.generate import generate
from core.inference.sampling import Sampling
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.held_out import HeldOut
from core.posttraining.rendering import render_prompt
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import StageError

if TYPE_CHECKING:
    from conftest import Workplace

CONTEXT = 96
TEXTS = ["The first of a few texts to read. " * 4, "Another text, not the same.", "``` and a third one"]


def asked(task: str, question: str, answer: str, unique_answer: bool = True) -> HeldOut:
    return HeldOut(task, unique_answer, Conversation((user(question), assistant(answer))))


EXAMPLES = [
    asked("simple-spelling", "Spell the word: cat", "cat:c,a,t"),
    asked("simple-spelling", "Spell the word: dog", "dog:d,o,g"),
    asked("simple-spelling", "too long " * 10, "cut"),
    asked("identity", "Who are you?", "I am a toy.", unique_answer=False),
]


def results(folder: Path) -> dict[str, dict]:
    return json.loads((folder / "evaluation.json").read_text())["results"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_base_suite_measures_bits_per_byte_and_says_on_how_many_bytes(workplace: Workplace) -> None:
    pack = workplace.pack(TEXTS)
    folder, metrics = workplace.evaluate(pack, "base")
    rows = Rows.open(pack)[0:3]
    expected = bits_per_byte(workplace.model, rows, workplace.tokenizer.token_bytes)
    assert metrics["bits_per_byte"] == pytest.approx(expected)
    found = results(folder)["bits_per_byte"]
    low, high = found.pop("interval")
    assert low < metrics["bits_per_byte"] < high
    assert found == {
        "value": metrics["bits_per_byte"],
        "unit": "bits per byte",
        "sample_size": int((rows[:, 1:] < 256).sum()),
        "sample_unit": "bytes",
    }


def test_the_base_suite_reads_no_more_rows_than_it_is_told_but_at_least_one(workplace: Workplace) -> None:
    pack = workplace.pack(TEXTS)
    sizes = {
        tokens: results(workplace.evaluate(pack, "base", validation_tokens=tokens)[0])["bits_per_byte"]["sample_size"]
        for tokens in (1, CONTEXT, 2 * CONTEXT)
    }
    first, second = (min(len(text), CONTEXT) for text in TEXTS[:2])
    assert sizes == {1: first, CONTEXT: first, 2 * CONTEXT: first + second}


def test_an_evaluation_says_which_model_it_is_of(workplace: Workplace, save_model: Callable[..., None]) -> None:
    save_model("base")
    folder, _ = workplace.evaluate(workplace.pack(TEXTS), "base")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    described = {name: evaluation[name] for name in ("suite", "phase", "use_rope", "direction", "step", "tokens_seen")}
    assert described == {
        "suite": "base",
        "phase": "base",
        "use_rope": False,
        "direction": "forward",
        "step": 7,
        "tokens_seen": 700,
    }
    assert len(evaluation["samples"]) == (folder / "samples.md").read_text().count("## ") == 3


@pytest.mark.parametrize("suite", ["base", "chat"])
def test_a_second_evaluation_writes_the_same_bytes(workplace: Workplace, suite: str) -> None:
    validation = workplace.pack(TEXTS) if suite == "base" else workplace.mixture(EXAMPLES)
    (first, _), (second, _) = workplace.evaluate(validation, suite), workplace.evaluate(validation, suite)
    assert contents(first) == contents(second)


def test_the_chat_suite_measures_only_the_answers(workplace: Workplace) -> None:
    mixture = workplace.mixture(EXAMPLES)
    _, metrics = workplace.evaluate(mixture, "chat")
    rows, mask = (Rows.open(mixture, f"validation.{part}")[0:4] for part in ("rows", "mask"))
    expected = bits_per_byte(workplace.model, rows, workplace.tokenizer.token_bytes, mask=mask)
    assert metrics["bits_per_byte"] == pytest.approx(expected)


def test_the_chat_suite_counts_exact_answers_of_tasks_that_have_one_right_answer(workplace: Workplace) -> None:
    tokenizer = workplace.tokenizer
    question = Conversation((user("What do you say?"),))
    prompt = render_prompt(question, tokenizer, CONTEXT)
    sampling = Sampling(max_tokens=1, temperature=0)
    first = generate(workplace.model, [prompt], sampling, stop_tokens=(), context_tokens=CONTEXT)[0][0]
    assert first != tokenizer.special("<|assistant_end|>")  # so an empty answer is wrong
    folder, _ = workplace.evaluate(workplace.mixture([*EXAMPLES, asked("silence", "What do you say?", "")]), "chat")
    found = results(folder)
    assert {name for name in found if name.startswith("exact")} == {
        "exact_answers/simple-spelling",
        "exact_answers/silence",
    }
    spelling = found["exact_answers/simple-spelling"]
    assert (spelling["value"], spelling["sample_size"]) == (0.0, 2)  # the third does not fit the context
    assert spelling["interval"] == pytest.approx([0.0, 0.6576], abs=1e-4)


def test_transcripts_take_tasks_in_turn_and_leave_out_what_does_not_fit(workplace: Workplace) -> None:
    folder, _ = workplace.evaluate(workplace.mixture(EXAMPLES), "chat", samples=9)
    page = (folder / "samples.md").read_text()
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles[:3] == ["## 1. simple-spelling", "## 2. identity", "## 3. simple-spelling"]
    assert "cat:c,a,t<|assistant_end|>" in page
    assert "too long too long" not in page


def test_an_unknown_suite_is_refused(workplace: Workplace) -> None:
    with pytest.raises(StageError, match="no evaluation suite is called 'core'; there are base, chat"):
        workplace.evaluate(workplace.pack(TEXTS), "core")


def test_rows_without_a_byte_to_predict_are_refused(workplace: Workplace) -> None:
    with pytest.raises(StageError, match="hold no byte to predict"):
        workplace.evaluate(workplace.pack([""]), "base")


def test_a_tokenizer_of_another_size_is_refused(workplace: Workplace) -> None:
    other = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS[:-1], workplace.tokenizer.ranks)
    other.save(workplace.root / "tokenizer")
    with pytest.raises(StageError, match="the model reads 265 tokens, the tokenizer has 264"):
        workplace.evaluate(workplace.pack(TEXTS), "base")
