"""Tasks made by a program: right answers, the same for everybody, and nothing of validation in training."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.posttraining.tasks import arithmetic, identity, simple_spelling, spelling_bee, word_choice
from core.posttraining.tasks.table import TASKS, find_task
from core.posttraining.tasks.task import Material, Split, Task
from core.posttraining.words import Words
from core.recipes.miniseries import PERSONA
from core.recipes.table import recipes
from core.stages.context import StageError

WORDS = Words(("hello", "strawberry", "cat", "committee", "banana"), ("held", "out"))
MATERIAL = Material(WORDS, PERSONA)
SPLITS: tuple[Split, ...] = ("training", "validation")
GENERATED = [simple_spelling.TASK, spelling_bee.TASK, arithmetic.TASK, word_choice.TASK, identity.TASK]


def test_recipes_name_every_task_but_the_one_that_runs_what_a_model_wrote() -> None:
    named = {
        line.name
        for recipe in recipes().values()
        for tuning in (recipe.finetuning, recipe.long_finetuning)
        if tuning is not None
        for line in (*tuning.training, *tuning.validation, *recipe.evaluation.questions)
    }
    assert named == set(TASKS) - {"humaneval"}


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StageError, match="did you mean spelling-bee"):
        find_task("speling-bee")


@given(st.integers(0, 10**6), st.sampled_from(SPLITS))
def test_spelling_spells_a_word_of_its_split(index: int, split: Split) -> None:
    question, answer = simple_spelling.TASK.open(split, index + 1, MATERIAL)[index].messages
    word = question.text.removeprefix("Spell the word: ")
    assert word in getattr(WORDS, split)
    assert answer.text == f"{word}:{','.join(word)}"


@given(st.integers(0, 10**6), st.sampled_from(SPLITS))
def test_counting_letters_agrees_with_python_at_every_step(index: int, split: Split) -> None:
    question, answer = spelling_bee.TASK.open(split, index + 1, MATERIAL)[index].messages
    text, call, output, final = answer.parts
    assert [part.kind for part in answer.parts] == ["text", "python", "python_output", "text"]
    word, letter = re.fullmatch(r"'(\w+)'\.count\('(\w)'\)", call.text).groups()
    assert word in getattr(WORDS, split)
    assert word in question.text
    assert letter in question.text
    count = word.count(letter)
    assert output.text == str(count)
    assert final.text.endswith(f"#### {count}")
    assert text.text.startswith(f"{word}:{','.join(word)}\n")
    assert re.findall(r"^(\d+):(\w)", text.text, re.MULTILINE) == [
        (str(number), each) for number, each in enumerate(word, start=1)
    ]
    assert re.findall(r"^\d+:(\w) hit! (\d+)", text.text, re.MULTILINE) == [
        (letter, str(number)) for number in range(1, count + 1)
    ]


def test_questions_about_letters_vary_and_one_in_ten_asks_for_any_letter() -> None:
    examples = spelling_bee.TASK.open("training", 3000, MATERIAL)
    questions = [examples[index].messages[0].text for index in range(len(examples))]
    assert len(set(spelling_bee.WORDINGS)) == 50
    assert sum(question.endswith("?") for question in questions) / 3000 == pytest.approx(0.5, abs=0.05)
    absent = [index for index in range(3000) if examples[index].messages[1].parts[2].text == "0"]
    assert 0.04 < len(absent) / 3000 < 0.1


def test_identity_is_a_thousand_dialogues_of_one_to_three_questions() -> None:
    examples = identity.TASK.open("training", None, MATERIAL)
    dialogues = [examples[index] for index in range(len(examples))]
    assert len(dialogues) == 1000
    assert {len(dialogue.messages) for dialogue in dialogues} == {2, 4, 6}
    assert len(set(dialogues)) > 900


@pytest.mark.parametrize("task", GENERATED, ids=lambda task: task.name)
def test_splits_draw_different_examples(task: Task) -> None:
    same_words = Words(WORDS.training, WORDS.training)
    training, validation = (task.open(split, 50, Material(same_words, PERSONA)) for split in SPLITS)
    assert [training[index] for index in range(50)] != [validation[index] for index in range(50)]


@pytest.mark.parametrize("task", GENERATED, ids=lambda task: task.name)
def test_examples_do_not_depend_on_the_process(task: Task) -> None:
    program = (
        "from core.posttraining.tasks.table import find_task; from core.posttraining.words import Words\n"
        "from core.posttraining.tasks.task import Material; from core.recipes.recipe import Persona\n"
        f"examples = find_task({task.name!r}).open('training', 20, {MATERIAL!r})\n"
        "print([examples[index] for index in range(20)])"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    examples = task.open("training", 20, MATERIAL)
    assert elsewhere.stdout.strip() == str([examples[index] for index in range(20)])


def test_an_endless_task_needs_a_number_of_rows() -> None:
    with pytest.raises(StageError, match="spelling-bee has no end"):
        spelling_bee.TASK.open("training", None, MATERIAL)
