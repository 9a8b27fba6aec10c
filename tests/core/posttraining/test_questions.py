"""The questions stage: what it writes is what evaluation reads, and what cannot be asked is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.posttraining import questions
from core.posttraining.conversation import Conversation
from core.posttraining.questions import Question, read_questions, write_questions
from core.posttraining.tasks.table import find_task
from core.recipes.recipe import MixtureTask
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import QuestionsIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

Ask = Callable[..., tuple[Path, Metrics]]


@pytest.fixture
def ask(tmp_path: Path, corpus_of: Callable[..., Path]) -> Ask:
    """`ask(task, ...)` runs the stage on a corpus of 64 words and returns its folder and metrics."""
    text = " ".join("".join(letters) for letters in product("abcd", repeat=3))
    corpus = corpus_of([text], [text])

    def run(*tasks: MixtureTask) -> tuple[Path, Metrics]:
        output = tmp_path / f"questions-{len(list(tmp_path.glob('questions-*')))}"
        output.mkdir()
        context = StageContext(
            name="chat",
            key="0" * 64,
            identity=QuestionsIdentity(tasks=tasks),
            inputs={"corpus": corpus},
            output=output,
            scratch=tmp_path,
            checkpoints=None,
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )
        return output, questions.produce(context)

    return run


def test_every_question_is_written_with_its_task_and_its_letters(ask: Ask) -> None:
    folder, metrics = ask(MixtureTask(name="spelling-bee", rows=6), MixtureTask(name="word-choice", rows=5))
    found = read_questions(folder)
    assert [question.task for question in found] == ["spelling-bee"] * 6 + ["word-choice"] * 5
    assert [question.letters for question in found[:6]] == [()] * 6
    for question in found[6:]:
        lines = question.conversation.messages[0].text.splitlines()
        assert [line[-2:] for line in lines if line.startswith("- ")] == [f"={letter}" for letter in question.letters]
        assert question.conversation.messages[-1].text in question.letters
    assert metrics["questions"] == 11
    assert metrics["tasks"] == {"spelling-bee": 6, "word-choice": 5}


def test_questions_are_those_of_the_validation_split(ask: Ask) -> None:
    folder, _ = ask(MixtureTask(name="simple-spelling", rows=7))
    asked = [question.conversation.messages[0].text for question in read_questions(folder)]
    held_out = ["".join(letters) for letters in product("abcd", repeat=3)][9::10]
    assert {question.removeprefix("Spell the word: ") for question in asked} <= set(held_out)


def test_the_same_tasks_give_the_same_bytes(ask: Ask) -> None:
    tasks = (MixtureTask(name="arithmetic", rows=9), MixtureTask(name="word-choice", rows=9))
    (one, _), (other, _) = ask(*tasks), ask(*tasks)
    assert (one / questions.FILE).read_bytes() == (other / questions.FILE).read_bytes()


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        ([MixtureTask(name="identity", rows=3)], "identity has no right answers"),
        ([MixtureTask(name="arithmetic", rows=3, epochs=2)], "asked once, not 2 times"),
        ([MixtureTask(name="arithmetic", rows=3)] * 2, "arithmetic stands twice"),
        ([MixtureTask(name="arithmetics", rows=3)], "did you mean arithmetic"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(ask: Ask, tasks: list[MixtureTask], complaint: str) -> None:
    with pytest.raises(StageError) as refusal:
        ask(*tasks)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.data())
def test_questions_are_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, conversations: st.SearchStrategy[Conversation], data: st.DataObject
) -> None:
    letters = st.lists(st.sampled_from("ABCDE"), unique=True).map(tuple)
    built = st.builds(Question, st.just("arithmetic"), conversations, letters, st.text(max_size=9))
    written = data.draw(st.lists(built, max_size=4))
    folder = tmp_path_factory.mktemp("questions")
    write_questions(folder, written)
    assert read_questions(folder) == written


def test_a_damaged_line_is_named(ask: Ask) -> None:
    folder, _ = ask(MixtureTask(name="arithmetic", rows=2))
    path = folder / questions.FILE
    path.write_text(path.read_text().replace('"role": "assistant"', '"role": "user"', 1))
    with pytest.raises(StageError, match=r"questions\.jsonl: line 1 is damaged: message 1 has role 'user'"):
        read_questions(folder)


def test_every_task_that_is_examined_finds_its_own_reference_correct(ask: Ask) -> None:
    names = ("simple-spelling", "spelling-bee", "arithmetic")
    folder, _ = ask(*(MixtureTask(name=name, rows=20) for name in names))
    for question in read_questions(folder):
        judge, reference = find_task(question.task).judge, question.conversation.messages[-1].text
        assert judge.correct(question.conversation, reference)
        assert not judge.correct(question.conversation, reference + "1")
