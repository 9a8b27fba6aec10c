"""The mixture stage on a corpus by hand: what it writes, what it counts, and that only its inputs decide."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.posttraining import mixture
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.held_out import HeldOut, read_held_out, write_held_out
from core.posttraining.rendering import render
from core.recipes.miniseries import PERSONA
from core.recipes.recipe import MixtureTask
from core.stages.context import Metrics, SavedCheckpoint, StageContext, StageError
from core.stages.identity import MixtureIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

ROW_TOKENS = 513
IDENTITY = MixtureIdentity(
    training=(
        MixtureTask(name="simple-spelling", rows=30, epochs=2),
        MixtureTask(name="spelling-bee", rows=10),
        MixtureTask(name="identity", rows=5, epochs=3),
    ),
    validation=(MixtureTask(name="simple-spelling", rows=6), MixtureTask(name="identity", rows=2)),
    persona=PERSONA,
    row_tokens=ROW_TOKENS,
    seed=42,
)
Make = Callable[..., tuple[Path, Metrics]]


class NoCheckpoints:
    """The stage takes seconds: it saves nothing on its way."""

    def save(self, step: int, directory: Path) -> None:
        raise AssertionError("the mixture stage saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        return None


@pytest.fixture
def inputs(tmp_path: Path, tokenizer: Tokenizer, corpus_of: Callable[..., Path]) -> dict[str, Path]:
    """A tokenizer and a corpus of 64 words, each seen twice."""
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    text = " ".join("".join(letters) for letters in product("abcd", repeat=3))
    return {"tokenizer": tmp_path / "tokenizer", "corpus": corpus_of([text], [text])}


@pytest.fixture
def make(tmp_path: Path, inputs: dict[str, Path]) -> Make:
    """`make(identity)` runs the stage and returns its folder and metrics."""

    def run(identity: MixtureIdentity) -> tuple[Path, Metrics]:
        output = tmp_path / f"mixture-{len(list(tmp_path.glob('mixture-*')))}"
        output.mkdir()
        context = StageContext(
            name="chat",
            key="0" * 64,
            identity=identity,
            inputs=inputs,
            output=output,
            scratch=tmp_path,
            checkpoints=NoCheckpoints(),
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )
        return output, mixture.produce(context)

    return run


def changed(**fields: object) -> MixtureIdentity:
    return MixtureIdentity(**{**vars(IDENTITY), **fields})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def conversations_in(tokenizer: Tokenizer, rows: np.ndarray) -> list[str]:
    """The texts between one BOS and the next, padding left out."""
    texts = tokenizer.decode(rows.ravel().tolist()).split("<|bos|>")
    return sorted(text for text in texts if text)


def test_every_conversation_is_packed_once_an_epoch_and_the_numbers_add_up(make: Make, tokenizer: Tokenizer) -> None:
    folder, metrics = make(IDENTITY)
    rows, mask = Rows.open(folder, "train.rows"), Rows.open(folder, "train.mask")
    assert rows.row_tokens == mask.row_tokens == ROW_TOKENS
    assert rows.count == mask.count == metrics["rows"]
    assert len(conversations_in(tokenizer, rows[0 : rows.count])) == metrics["conversations"] == 2 * 30 + 10 + 3 * 5
    assert int(mask[0 : mask.count].sum()) == metrics["supervised_tokens"]
    assert (mask[0 : mask.count].sum(axis=1) > 0).all()
    tasks = metrics["tasks"]
    assert {name: task["conversations"] for name, task in tasks.items()} == {
        "simple-spelling": 60,
        "spelling-bee": 10,
        "identity": 15,
    }
    tokens = sum(task["tokens"] for task in tasks.values())
    assert metrics["padding_share"] == pytest.approx(1 - tokens / (rows.count * ROW_TOKENS))
    assert (metrics["truncated"], metrics["dropped"]) == (0, 0)
    assert json.loads((folder / "mixture.json").read_text())["train"]["tasks"] == tasks


def test_validation_rows_are_the_held_out_conversations(make: Make, tokenizer: Tokenizer) -> None:
    folder, _ = make(IDENTITY)
    held_out = read_held_out(folder)
    assert [(each.task, each.unique_answer) for each in held_out] == [("simple-spelling", True)] * 6 + [
        ("identity", False)
    ] * 2
    rows = Rows.open(folder, "validation.rows")
    expected = [
        tokenizer.decode(render(each.conversation, tokenizer, ROW_TOKENS).tokens).removeprefix("<|bos|>")
        for each in held_out
    ]
    assert conversations_in(tokenizer, rows[0 : rows.count]) == sorted(expected)


def test_no_held_out_word_is_spelled_in_training(make: Make, tokenizer: Tokenizer) -> None:
    folder, _ = make(changed(training=(MixtureTask(name="simple-spelling", rows=400),)))
    rows = Rows.open(folder, "train.rows")
    trained = tokenizer.decode(rows[0 : rows.count].ravel().tolist())
    held_out = [each.conversation.messages[0].text for each in read_held_out(folder) if each.unique_answer]
    assert held_out
    assert all(question not in trained for question in held_out)


def test_the_same_identity_gives_the_same_bytes_in_another_process(
    make: Make, inputs: dict[str, Path], tmp_path: Path
) -> None:
    folder, _ = make(IDENTITY)
    (tmp_path / "elsewhere").mkdir()
    program = (
        "import sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from core.posttraining.mixture import produce; from core.recipes.recipe import MixtureTask, Persona\n"
        "from core.stages.identity import MixtureIdentity; from core.stages.report import Reporter\n"
        "tokenizer, corpus, output = map(Path, sys.argv[1:])\n"
        f"produce(SimpleNamespace(identity={IDENTITY!r}, inputs=dict(tokenizer=tokenizer, corpus=corpus), "
        "output=output, report=Reporter()))"
    )
    arguments = [str(inputs["tokenizer"]), str(inputs["corpus"]), str(tmp_path / "elsewhere")]
    subprocess.run([sys.executable, "-c", program, *arguments], env={"PYTHONHASHSEED": "7"}, check=True)
    assert contents(tmp_path / "elsewhere") == contents(folder)


def test_the_seed_decides_the_order_of_training_and_nothing_else(make: Make, tokenizer: Tokenizer) -> None:
    (one, _), (other, _) = make(IDENTITY), make(changed(seed=43))
    first, second = (Rows.open(folder, "train.rows") for folder in (one, other))
    assert not np.array_equal(first[0 : first.count], second[0 : second.count])
    assert conversations_in(tokenizer, first[0 : first.count]) == conversations_in(tokenizer, second[0 : second.count])


def test_long_conversations_are_truncated_counted_and_dropped_when_nothing_is_left_to_learn(make: Make) -> None:
    folder, metrics = make(changed(row_tokens=30, training=(MixtureTask(name="spelling-bee", rows=40),)))
    task = metrics["tasks"]["spelling-bee"]
    assert task["truncated"] == metrics["truncated"] == 40
    assert task["cut_tokens"] > 0
    assert 0 < metrics["dropped"] == task["without_answer"] < 40
    masks = Rows.open(folder, "train.mask")
    assert (masks[0 : masks.count].sum(axis=1) > 0).all()


def test_how_long_conversations_were_before_they_were_cut_is_counted_by_powers_of_two(
    make: Make, tokenizer: Tokenizer
) -> None:
    whole, uncut = make(changed(row_tokens=2000))
    packed = Rows.open(whole, "train.rows")
    tokens = packed[0 : packed.count].ravel()
    gaps = np.diff(np.append(np.flatnonzero(tokens == tokenizer.bos), len(tokens)))  # from one BOS to the next
    lengths = gaps[gaps > 1]  # the others pad
    _, cut = make(changed(row_tokens=64))
    assert cut["truncated"] > 0 == uncut["truncated"]
    for metrics in (uncut, cut):
        tasks = metrics["tasks"].values()
        assert max(task["longest"] for task in tasks) == lengths.max()
        for least, most in ((0, 32), (32, 64), (64, 128), (128, 256), (256, 512)):
            counted = sum(task["lengths"].get(f"<={most}", 0) for task in tasks)
            assert counted == ((lengths > least) & (lengths <= most)).sum()


def test_a_mixture_that_teaches_nothing_is_refused(make: Make) -> None:
    with pytest.raises(StageError, match="no conversation to train on"):
        make(changed(row_tokens=8))


def test_a_task_listed_twice_is_refused(make: Make) -> None:
    twice = (MixtureTask(name="identity", rows=1), MixtureTask(name="identity", rows=2))
    with pytest.raises(StageError, match="identity stands twice in one list"):
        make(changed(validation=twice))


def test_a_damaged_line_of_held_out_conversations_is_named(make: Make) -> None:
    folder, _ = make(IDENTITY)
    path = folder / "validation.jsonl"
    path.write_text(path.read_text().replace('"role": "assistant"', '"role": "user"', 1))
    with pytest.raises(StageError, match=r"validation\.jsonl: line 1 is damaged: message 1 has role 'user'"):
        read_held_out(folder)


def test_held_out_text_survives_line_separators(tmp_path: Path) -> None:
    text = "a\u2028b\x85c\r\n\x1dd"
    example = HeldOut("identity", False, Conversation((user(text), assistant(text))))
    write_held_out(tmp_path, [example, example])
    assert read_held_out(tmp_path) == [example, example]
