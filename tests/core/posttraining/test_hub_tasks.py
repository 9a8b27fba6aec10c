"""Tasks of the Hub: rows parsed from small dicts, data sets loaded from a folder laid out like a repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.posttraining.conversation import Conversation, Part, assistant, parse_conversation, user
from core.posttraining.tasks import gsm8k, mmlu, smol_smoltalk, tulu_long
from core.posttraining.tasks.hub import HubSplit, HubTask, shuffled
from core.posttraining.tasks.task import Material
from core.posttraining.tasks.tulu_long import TuluLong, is_usable
from core.posttraining.words import Words
from core.stages.context import StageError

NOTHING = Material(Words((), ()))


def dialogue(number: int) -> dict[str, object]:
    messages = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
    return {"messages": messages}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of 20 training and 5 test dialogues; its cache is the test's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    for split, count in (("train", 20), ("test", 5)):
        lines = [json.dumps(dialogue(number)) + "\n" for number in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return str(folder)


@pytest.fixture
def task(repository: str) -> HubTask:
    """smol-smoltalk, pointed at that folder."""
    training = HubSplit(repository=repository, config=None, split="train", revision=None)
    return replace(smol_smoltalk.TASK, training=training, validation=replace(training, split="test"))


def test_calculator_marks_become_calls_of_python_and_their_output() -> None:
    row = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24 and <<24+1=25>><<25*1=25>>\n#### 25"}
    assert gsm8k.TASK.parse(row) == Conversation(
        (
            user("How many?"),
            assistant(
                "48/2 = ",
                Part("python", "48/2"),
                Part("python_output", "24"),
                "24 and ",
                Part("python", "24+1"),
                Part("python_output", "25"),
                Part("python", "25*1"),
                Part("python_output", "25"),
                "\n#### 25",
            ),
        )
    )


def test_a_solution_without_calculations_is_plain_text() -> None:
    row = {"question": "?", "answer": "1 < 2, so #### 2"}
    assert gsm8k.TASK.parse(row) == Conversation((user("?"), assistant("1 < 2, so #### 2")))


def test_multiple_choice_puts_the_letter_after_its_choice_and_answers_with_one_letter() -> None:
    row = {"question": "Largest?", "choices": ["one", "two", "four", "three"], "answer": 2, "subject": "x"}
    question, answer = mmlu.TASK.parse(row).messages
    lines = question.text.splitlines()
    assert lines[0].endswith("Largest?")
    assert lines[1:5] == ["- one=A", "- two=B", "- four=C", "- three=D"]
    assert answer == assistant("C")


def test_a_task_reads_the_split_it_is_asked_for_in_one_fixed_order(task: HubTask) -> None:
    training, validation = task.open("training", None, NOTHING), task.open("validation", None, NOTHING)
    assert [training[index] for index in range(20)] == [
        parse_conversation(dialogue(number)) for number in shuffled(range(20))
    ]
    assert len(validation) == 5
    few = task.open("training", 3, NOTHING)
    assert [few[index] for index in range(len(few))] == [training[index] for index in range(3)]


def test_more_rows_than_there_are_is_an_error_that_counts_them(task: HubTask) -> None:
    with pytest.raises(StageError, match="has 5 usable rows, the recipe asks for 6"):
        task.open("validation", 6, NOTHING)


def test_a_row_that_is_no_conversation_is_named(task: HubTask, repository: str) -> None:
    (Path(repository) / "test.jsonl").write_text(json.dumps({"messages": [{"role": "assistant", "content": "a"}]}))
    examples = task.open("validation", None, NOTHING)
    with pytest.raises(StageError, match="test at None: row 0 is no conversation of this task: message 0"):
        examples[0]


def test_a_missing_data_set_is_one_line_that_names_it_and_says_what_to_do(task: HubTask, tmp_path: Path) -> None:
    elsewhere = HubSplit(repository=str(tmp_path / "nowhere"), config=None, split="train", revision="abc")
    with pytest.raises(StageError) as refusal:
        replace(task, training=elsewhere).open("training", None, NOTHING)
    assert f"{tmp_path}/nowhere default/train at abc" in str(refusal.value)
    assert "HF_HOME" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_without_a_network_the_data_set_is_named(tmp_path: Path) -> None:
    program = (
        "from core.posttraining.tasks.table import find_task; from core.posttraining.words import Words\n"
        "from core.posttraining.tasks.task import Material\n"
        "from core.stages.context import StageError\n"
        "try: find_task('gsm8k').open('training', None, Material(Words((), ())))\n"
        "except StageError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("cannot load openai/gsm8k main/train at e53f048")


def test_usable_long_conversations_are_strings_by_turns_after_an_optional_system_message() -> None:
    system, question, answer = ({"role": role, "content": "x"} for role in ("system", "user", "assistant"))
    assert is_usable({"messages": [question, answer]})
    assert is_usable({"messages": [system, question, answer, question]})
    for messages in ([], [answer], [question, question], [question, system], [{"role": "user", "content": None}]):
        assert not is_usable({"messages": messages})
    assert not is_usable(
        {"messages": [question, {"role": "assistant", "content": [{"type": "text", "text": "x"}] * 2}]}
    )


def test_long_conversations_hold_out_the_last_of_the_shuffled_usable_rows(
    repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (Path(repository) / "train.jsonl").open("a") as file:
        file.write(json.dumps({"messages": [{"role": "assistant", "content": "a"}]}) + "\n")
    monkeypatch.setattr(tulu_long, "HELD_OUT", 4)
    task = TuluLong()
    task.source = HubSplit(repository=repository, config=None, split="train", revision=None)
    training, validation = (task.open(split, None, NOTHING) for split in ("training", "validation"))
    found = [examples[index] for examples in (training, validation) for index in range(len(examples))]
    assert (len(training), len(validation)) == (16, 4)
    assert found == [parse_conversation(dialogue(number)) for number in shuffled(range(20))]
