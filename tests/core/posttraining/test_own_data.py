"""Data sets on a mirror and conversations of one's own, in a folder and in a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from s3_server import running_moto

from core.posttraining.conversation import Conversation, assistant, parse_conversation, user
from core.posttraining.tasks import gsm8k, identity, mmlu
from core.posttraining.tasks.hub import HubSplit, shuffled
from core.posttraining.tasks.table import find_task
from core.posttraining.tasks.task import Examples, Material
from core.posttraining.tasks.tulu_long import TuluLong
from core.posttraining.words import Words
from core.recipes.miniseries import PERSONA
from core.recipes.recipe import MixtureTask
from core.recipes.series.fields import FieldError, checked, replaced
from core.recipes.table import recipes
from core.stages.context import StageError

NOTHING = Material(Words((), ()))
GSM8K = "datasets/openai/gsm8k/resolve/e53f048856ff4f594e959d75785d2c2d37b678ee"
MMLU = "datasets/cais/mmlu/resolve/c30699e8356da336a370243923dbaf21066bb9fe"

Put = Callable[[str, bytes], str]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Put]:
    """`put(name, content)` in a bucket, which returns its URL."""
    with running_moto(tmp_path_factory.mktemp("moto") / "log") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # of an earlier server in this process, at another address

        def put(name: str, content: bytes) -> str:
            server.client().put_object(Bucket="miniseries", Key=name, Body=content)
            return f"s3://miniseries/{name}"

        yield put


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """The same in a folder or in the bucket; what is put below `mirror/` is on the mirror."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    if request.param == "bucket":
        monkeypatch.setenv("MINISERIES_MIRROR", "s3://miniseries/mirror")
        put: Put = request.getfixturevalue("bucket")
        return put
    monkeypatch.setenv("MINISERIES_MIRROR", str(tmp_path / "mirror"))
    return lambda name, content: _write(tmp_path / name, content)


def _write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def all_of(examples: Examples) -> list[Conversation]:
    return [examples[index] for index in range(len(examples))]


def json_lines(rows: Sequence[object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: Sequence[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue().to_pybytes()


def dialogue(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]


def problem(number: int) -> dict[str, str]:
    return {"question": f"{number} + {number}?", "answer": f"<<{number}+{number}={2 * number}>>\n#### {2 * number}"}


def test_a_split_is_read_from_the_mirror_file_after_file(place: Put) -> None:
    for part in range(3):
        rows = [problem(10 * part + number) for number in range(4)]
        place(f"mirror/{GSM8K}/main/train-0000{part}-of-00003.jsonl", json_lines(rows))
    place(f"mirror/{GSM8K}/main/test-00000-of-00001.jsonl", json_lines([problem(99)]))
    examples = gsm8k.TASK.open("training", None, NOTHING)
    rows = [problem(10 * part + number) for part in range(3) for number in range(4)]
    assert all_of(examples) == [gsm8k.parse(rows[index]) for index in shuffled(range(12))]
    assert all_of(gsm8k.TASK.open("validation", None, NOTHING)) == [gsm8k.parse(problem(99))]
    assert examples.origin == "openai/gsm8k main/train at e53f048856ff4f594e959d75785d2c2d37b678ee"


def test_a_split_may_be_parquet(place: Put) -> None:
    rows = [{"question": f"q{n}", "choices": list("wxyz"), "answer": n % 4, "subject": "x"} for n in range(9)]
    place(f"mirror/{MMLU}/all/test-00000-of-00001.parquet", parquet(rows))
    examples = mmlu.TASK.open("validation", 5, NOTHING)
    assert all_of(examples) == [mmlu.parse(rows[index]) for index in shuffled(range(9))[:5]]


def test_a_split_of_two_formats_is_refused(place: Put) -> None:
    place(f"mirror/{MMLU}/all/test-0.jsonl", json_lines([]))
    place(f"mirror/{MMLU}/all/test-0.parquet", parquet([{"question": "q"}]))
    with pytest.raises(StageError, match="either parquet or JSON lines"):
        mmlu.TASK.open("validation", None, NOTHING)


def test_rows_that_are_no_conversation_are_counted_where_the_task_leaves_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINISERIES_MIRROR", str(tmp_path))
    monkeypatch.setattr("core.posttraining.tasks.tulu_long.HELD_OUT", 2)
    rows = [{"messages": dialogue(number)} for number in range(6)]
    rows += [{"messages": dialogue(7)[:0]}, {"messages": None}, {"messages": [*dialogue(8), *dialogue(9)[1:]]}]
    _write(tmp_path / "datasets/a/b/resolve/1/data/train.jsonl", json_lines(rows))
    task = TuluLong()
    task.source = HubSplit(repository="a/b", config=None, split="train", revision="1")
    training = task.open("training", None, NOTHING)
    assert (len(training), training.skipped) == (4, 3)


@pytest.mark.parametrize("rows", [[], [{"question": "?"}], [{"question": 1, "answer": "x"}], ["text"]])
def test_an_empty_data_set_and_rows_of_another_shape_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[object]
) -> None:
    monkeypatch.setenv("MINISERIES_MIRROR", str(tmp_path))
    _write(tmp_path / GSM8K / "main/train.jsonl", json_lines(rows))
    with pytest.raises(StageError) as refusal:
        all_of(gsm8k.TASK.open("training", None, NOTHING))
    assert str(refusal.value).startswith("openai/gsm8k main/train at e53f048")
    assert "\n" not in str(refusal.value)


def test_what_a_mirror_does_not_have_is_sought_on_the_hub_and_the_error_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINISERIES_MIRROR", str(tmp_path))
    elsewhere = HubSplit(repository=str(tmp_path / "nowhere"), config=None, split="train", revision="abc")
    with pytest.raises(StageError, match=r"Hugging Face Hub.* set MINISERIES_MIRROR to a folder or bucket"):
        replace(gsm8k.TASK, training=elsewhere).open("training", None, NOTHING)


def conversations(put: Put, content: bytes, options: str = "") -> str:
    digest = hashlib.sha256(content).hexdigest()
    url = put(f"own/{digest}/chat.jsonl", content)
    return f"conversations:{url}#sha256={digest}{options}"


def test_ones_own_file_holds_objects_or_bare_lists_and_is_pinned_by_its_digest(place: Put) -> None:
    content = json_lines([dialogue(0), {"messages": dialogue(1), "source": "x"}]) + b"\n" + json_lines([dialogue(2)])
    name = conversations(place, content)
    task = find_task(name)
    examples = task.open("training", None, NOTHING)
    assert all_of(examples) == [parse_conversation({"messages": dialogue(number)}) for number in range(3)]
    assert (task.name, examples.origin, examples.skipped) == (name, name, 0)
    assert len(find_task(name).open("training", 2, NOTHING)) == 2


def test_another_digest_is_refused_with_the_one_to_write(place: Put) -> None:
    content = json_lines([dialogue(0)])
    digest = hashlib.sha256(content).hexdigest()
    for wrong in ("sha256=", f"sha256={'0' * 64}"):
        name = conversations(place, content).partition("#")[0] + "#" + wrong
        with pytest.raises(StageError, match=f"write #sha256={digest} to use it"):
            find_task(name).open("training", None, NOTHING)


BAD = [b"{", b'["a"]', b"3", b'[{"role": "assistant", "content": "a"}]', b'[{"role": "user", "content": "\\ud800"}]']


@pytest.mark.parametrize("line", BAD, ids=["torn", "no-message", "number", "out-of-turn", "half-a-pair"])
def test_a_bad_line_ends_the_stage_by_name_or_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    content = json_lines([dialogue(0)]) + line + b"\n" + json_lines([dialogue(1)])

    def put(name: str, content: bytes) -> str:
        return _write(tmp_path / name, content)

    with pytest.raises(StageError, match=r"chat\.jsonl: conversation 2: .* add on_bad_row=skip"):
        find_task(conversations(put, content)).open("training", None, NOTHING)
    examples = find_task(conversations(put, content, "&on_bad_row=skip")).open("training", None, NOTHING)
    assert all_of(examples) == [parse_conversation({"messages": dialogue(number)}) for number in range(2)]
    assert examples.skipped == 1


def test_a_file_without_conversations_or_with_too_few_is_refused(tmp_path: Path) -> None:
    def put(name: str, content: bytes) -> str:
        return _write(tmp_path / name, content)

    for content, rows in ((b"", None), (json_lines([dialogue(0)]), 2)):
        with pytest.raises(StageError, match="conversations, the recipe asks for"):
            find_task(conversations(put, content)).open("training", rows, NOTHING)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nowhere\.jsonl cannot be read"):
        find_task(f"conversations:{tmp_path}/nowhere.jsonl#sha256=00").open("training", None, NOTHING)


def test_a_persona_is_told_by_its_file_where_it_names_one(tmp_path: Path) -> None:
    content = json_lines([[{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada."}]])
    path = _write(tmp_path / "ada.jsonl", content)
    ada = replace(PERSONA, conversations=f"conversations:{path}#sha256={hashlib.sha256(content).hexdigest()}")
    examples = identity.TASK.open("training", None, Material(Words((), ()), ada))
    assert all_of(examples) == [Conversation((user("Who?"), assistant("Ada.")))]


def test_a_generated_persona_speaks_of_itself_in_the_recipes_words() -> None:
    ada = replace(PERSONA, name="Ada", maker="a lab in {braces}")
    said = " ".join(
        message.text
        for dialogue in all_of(identity.TASK.open("training", None, Material(Words((), ()), ada)))
        for message in dialogue.messages
    )
    assert "I am Ada" in said
    assert "trained by a lab in {braces}" in said
    assert "nanochat," not in said.replace("follows nanochat,", "").replace("that of nanochat,", "")


def test_a_series_file_may_name_a_file_of_conversations_and_a_persona() -> None:
    named = "conversations:/data/chat.jsonl#sha256=00&on_bad_row=skip"
    written = [{"name": "identity", "rows": None}, {"name": named, "rows": 9, "epochs": 3}]
    tasks = checked("finetuning.training", written)
    assert tasks == (MixtureTask(name="identity", rows=None), MixtureTask(name=named, rows=9, epochs=3))
    changes = {"finetuning.training": tasks, "finetuning.persona.name": checked("finetuning.persona.name", "Ada")}
    tuning = replaced(recipes()["tiny"], changes).finetuning
    assert (tuning.training, tuning.persona.name) == (tasks, "Ada")
    with pytest.raises(FieldError, match="fine-tuning task"):
        checked("finetuning.training", [{"name": "conversation:/data/chat.jsonl", "rows": None}])


def test_identity_needs_a_persona() -> None:
    with pytest.raises(StageError, match="describe a persona"):
        identity.TASK.open("training", None, NOTHING)
