"""Which answers count as right."""

from __future__ import annotations

import pytest

from core.posttraining.conversation import Conversation, ConversationError, Part, assistant, user
from core.posttraining.tasks import arc, humaneval, mmlu
from core.posttraining.tasks.judge import final_number, same_final_number, same_text
from core.posttraining.tasks.multiple_choice import multiple_choice
from core.posttraining.tasks.task import Exercise

REFERENCE = Conversation(
    (user("?"), assistant("It is ", Part("python", "1000+234"), Part("python_output", "1234"), "\n#### 1,234"))
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 7", "7"),
        ("so\n#### 1,234,567", "1234567"),
        ("#### $1,250.50", "1250.50"),
        ("####-3", "-3"),
        ("#### 8. Done", "8"),
        ("#### 1\n#### 2", "2"),
        ("7", None),
        ("#### seven", None),
        ("#### ,", None),
    ],
)
def test_the_final_number_stands_after_the_last_marks_and_loses_its_commas(text: str, number: str | None) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("<|python_start|>1000+234<|python_end|><|output_start|>1234<|output_end|> #### 1234", True),
        ("#### 1,234", True),
        ("#### 1234.0", False),
        ("1234", False),
        ("", False),
    ],
)
def test_an_answer_is_right_when_its_final_number_is_the_references(answer: str, right: bool) -> None:
    assert same_final_number(REFERENCE, answer) is right


def test_a_reference_without_a_final_number_makes_nothing_right() -> None:
    assert not same_final_number(Conversation((user("?"), assistant("no"))), "no")


def test_exact_answers_may_have_space_around_them_and_nothing_else() -> None:
    reference = Conversation((user("?"), assistant("cat:c,a,t")))
    assert same_text(reference, " cat:c,a,t\n")
    assert not same_text(reference, "cat: c,a,t")


def test_arc_keeps_the_letters_of_its_data_and_from_three_to_five_choices() -> None:
    row = {"question": "Hot?", "choices": {"text": ["ice", "sun", "sea"], "label": ["1", "2", "3"]}, "answerKey": "2"}
    exercise = arc.parse(row)
    assert isinstance(exercise, Exercise)
    assert exercise.letters == ("1", "2", "3")
    question, answer = exercise.messages
    assert question.text.splitlines()[1:4] == ["- ice=1", "- sun=2", "- sea=3"]
    assert answer == assistant("2")


def test_every_letter_a_task_may_offer_is_among_those_of_its_judge() -> None:
    row = {"question": "?", "choices": list("wxyz"), "answer": 3}
    assert mmlu.parse(row).letters == mmlu.TASK.judge.letters


def test_an_answer_that_is_no_choice_is_refused() -> None:
    with pytest.raises(ConversationError, match=r"'D' answers none of 3 choices called A, B, C"):
        multiple_choice("?", ["x", "y", "z"], "D")


def test_more_choices_than_letters_are_refused() -> None:
    with pytest.raises(ConversationError, match="none of 6 choices"):
        multiple_choice("?", list("uvwxyz"), "A")


def test_a_programming_exercise_carries_the_program_that_judges_it() -> None:
    row = {
        "prompt": "def one():\n",
        "canonical_solution": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
        "entry_point": "one",
    }
    exercise = humaneval.parse(row)
    program = f"{exercise.messages[-1].text}\n{exercise.checks}"
    exec(compile(program, "humaneval", "exec"), {})
    with pytest.raises(AssertionError):
        exec(program.replace("return 1", "return 2"), {})
