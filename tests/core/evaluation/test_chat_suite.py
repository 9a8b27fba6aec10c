"""The examination of a chat model that says what a test tells it to: verdicts, scores, and the record behind them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from core.data.tokenizer import Tokenizer
from core.evaluation.measurement import wilson_interval
from core.evaluation.scores import STANDARD
from core.model.checkpoint import load_state, save
from core.model.transformer import Transformer
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.held_out import HeldOut
from core.posttraining.questions import Question
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import StageError

if TYPE_CHECKING:
    from conftest import Workplace

EXAMPLES = [HeldOut("identity", False, Conversation((user("Who?"), assistant("A toy."))))]


def asked(task: str, question: str, answer: str, letters: tuple[str, ...] = ()) -> Question:
    return Question(task, Conversation((user(question), assistant(answer))), letters)


QUESTIONS = [
    asked("arithmetic", "2 + 2", "#### 4"),
    asked("arithmetic", "2 + 3", "#### 5"),
    asked("arithmetic", "too long " * 20, "#### 4"),
    asked("word-choice", "- x=A\n- y=B", "B", ("A", "B")),
    asked("word-choice", "- x=A\n- y=B\n- z=C", "C", ("A", "B", "C")),
    asked("word-choice", "- y=C\n- x=A", "C", ("C", "A")),
    asked("gsm8k", "too long " * 20, "#### 4"),
]


@pytest.fixture
def speaking(workplace: Workplace) -> Workplace:
    """A model that calls Python with 2+2, then says `#### 4`; of the letters, it prefers B."""
    ranks = {**workplace.tokenizer.ranks, b"2+2": 256, b"#### 4": 257}
    tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks)
    tokenizer.save(workplace.root / "tokenizer")
    state, vocabulary = load_state(workplace.root / "model"), tokenizer.vocabulary_size
    width = vocabulary + vocabulary % 2
    architecture = replace(
        state.architecture, vocabulary_size=vocabulary, width=width, heads=1, key_value_heads=1, head_width=width
    )
    model = Transformer(architecture)
    model.initialize(seed=1)  # no layer adds anything to the residual stream
    start, call, called, printed, end = (
        tokenizer.special(f"<|{name}|>")
        for name in ("assistant_start", "python_start", "python_end", "output_end", "assistant_end")
    )
    with torch.no_grad():
        model.transformer.wte.weight.copy_(torch.eye(vocabulary, width))
        model.lm_head.weight.zero_()
        for token, following in (*pairwise((start, call, 256, called)), *pairwise((printed, 257, end))):
            model.lm_head.weight[following, token] = 1.0
        model.lm_head.weight[ord("B"), start] = 0.5
    save(workplace.root / "model", replace(state, architecture=architecture), model.state_dict())
    return replace(workplace, tokenizer=tokenizer, model=model)


@pytest.fixture
def folder(speaking: Workplace) -> Path:
    return speaking.evaluate(speaking.mixture(EXAMPLES), "chat", questions=QUESTIONS, answer_tokens=40)[0]


def answers(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_every_question_is_recorded_with_its_answer_and_verdict(folder: Path) -> None:
    found = [(one["task"], one["number"], one["answer"], one["reference"], one["correct"]) for one in answers(folder)]
    said = "<|python_start|>2+2<|python_end|><|output_start|>4<|output_end|>#### 4"
    assert found == [
        ("arithmetic", 0, said, "#### 4", True),
        ("arithmetic", 1, said, "#### 5", False),
        ("arithmetic", 2, None, "#### 4", None),
        ("word-choice", 0, "B", "B", True),
        ("word-choice", 1, "B", "C", False),
        ("word-choice", 2, "C", "C", True),  # of letters that are equally likely, the first that is offered
        ("gsm8k", 0, None, "#### 4", None),
    ]
    assert answers(folder)[3]["prompt"] == "- x=A\n- y=B"


def test_the_scores_can_be_recomputed_from_the_record(folder: Path) -> None:
    results = json.loads((folder / "evaluation.json").read_text())["results"]
    verdicts = Counter((one["task"], one["correct"]) for one in answers(folder))
    centered = []
    for task, guessing in (("arithmetic", 0.0), ("word-choice", 0.25)):
        right, wrong = verdicts[task, True], verdicts[task, False]
        accuracy = results[f"accuracy/{task}"]
        assert accuracy["value"] == right / (right + wrong)
        assert accuracy["sample_size"] == right + wrong
        assert accuracy["interval"] == pytest.approx(wilson_interval(right, right + wrong))
        centered.append((accuracy["value"] - guessing) / (1 - guessing))
    assert results["chatcore"]["value"] == pytest.approx(sum(centered) / 2)
    assert results["chatcore"]["sample_size"] == 2


def test_what_has_no_score_is_missing_and_never_zero(folder: Path) -> None:
    evaluation = json.loads((folder / "evaluation.json").read_text())
    examination = evaluation["examination"]
    assert "accuracy/gsm8k" not in evaluation["results"]
    assert set(examination["missing"]) == set(STANDARD)
    assert examination["tasks"]["gsm8k"] == {
        "asked": 0,
        "correct": 0,
        "too_long": 1,
        "baseline": 0.0,
        "centered": None,
    }
    assert examination["tasks"]["arithmetic"]["too_long"] == 1


def test_the_page_has_a_table_of_scores_and_an_answer_of_each_kind(folder: Path) -> None:
    page = (folder / "samples.md").read_text()
    assert "| arithmetic | 50.00% | 9.45% to 90.55% | 1 | 2 | 1 | 0.00% | 0.5000 |" in page
    assert "| gsm8k | missing |" in page
    titles = [line.partition(" ")[2] for line in page.splitlines() if line.startswith("## ")]
    assert [title.partition(" ")[2] for title in titles[1:]] == [
        "arithmetic, question 0: right",
        "arithmetic, question 1: wrong",
        "word-choice, question 0: right",
        "word-choice, question 1: wrong",
    ]


def test_an_answer_has_no_more_tokens_than_it_may_have(speaking: Workplace) -> None:
    folder, _ = speaking.evaluate(speaking.mixture(EXAMPLES), "chat", questions=QUESTIONS[:1], answer_tokens=4)
    [answered] = answers(folder)
    assert answered["answer"] == "<|python_start|>2+2<|python_end|><|output_start|>"
    assert answered["correct"] is False


def test_a_question_of_a_task_without_right_answers_is_refused(speaking: Workplace) -> None:
    with pytest.raises(StageError, match="task identity has no right answers"):
        speaking.evaluate(
            speaking.mixture(EXAMPLES), "chat", questions=[asked("identity", "Who?", "I")], answer_tokens=4
        )
