"""The real GSM8K, MMLU and conversation files beside the checkout: rendered, packed, reconciled with them, trained on.

What a mixture must hold is worked out here a second time, from the files and the rules of rendering alone.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rustbpe

from core.data import pack
from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.posttraining import mixture
from core.posttraining.tasks import gsm8k, mmlu
from core.recipes import tiny
from core.recipes.miniseries import PERSONA
from core.recipes.recipe import MixtureTask
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import Metrics, StageContext
from core.stages.identity import FinetuneIdentity, MixtureIdentity, PackIdentity, TrainingIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.training import finetune, pretrain

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files do not lie beside the checkout")

Produce = Callable[[StageContext[Any]], Metrics]

VOCABULARY = 1024
ROW_TOKENS = 1025
EPOCHS = {"gsm8k": 1, "mmlu": 3}
OWN = ("identity_conversations.jsonl", "sft_messages.jsonl")


@dataclass(frozen=True)
class Made:
    """A mixture and what it was made from."""

    folder: Path
    metrics: Metrics
    tokenizer: Tokenizer


def lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def own(name: str) -> str:
    """The task that reads a file of conversations."""
    path = DATA / "chat" / name
    return f"conversations:{path}#sha256={sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A small vocabulary of the real questions."""
    trainer = rustbpe.Tokenizer()
    texts = [f"{row['question']} {row['answer']}" for row in lines("gsm8k/train.jsonl")]
    trainer.train_from_iterator(iter(texts), VOCABULARY - len(SPECIAL_TOKENS), pattern=SPLIT_PATTERN)
    return Tokenizer(
        SPLIT_PATTERN, SPECIAL_TOKENS, {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, Path]:
    """The tokenizer, and a corpus of one real book shard."""
    root = tmp_path_factory.mktemp("inputs")
    for name in ("tokenizer", "corpus"):
        (root / name).mkdir()
    tokenizer.save(root / "tokenizer")
    texts = pq.read_table(DATA / "prose/shard_00000.parquet", columns=["text"])["text"].to_pylist()[:20]
    write_documents(root / "corpus" / shard_file(0), texts)
    shard = Shard(number=0, file=shard_file(0), documents=len(texts), characters=sum(map(len, texts)))
    Corpus(source="prose", revision="1", validation_shard=None, shards=(shard,)).save(root / "corpus")
    return {"tokenizer": root / "tokenizer", "corpus": root / "corpus"}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mirror of the data sets, of which the files beside the checkout are all there is of the auxiliary questions."""
    import datasets

    root = tmp_path_factory.mktemp("mirror")
    places = {
        (gsm8k.TRAINING, "main/train.jsonl"): "gsm8k/train.jsonl",
        (gsm8k.TRAINING, "main/test.jsonl"): "gsm8k/test.jsonl",
        (mmlu.TRAINING, "all/auxiliary_train-0.parquet"): "mmlu/val.parquet",
        (mmlu.TRAINING, "all/auxiliary_train-1.parquet"): "mmlu/dev.parquet",
        (mmlu.TRAINING, "all/test.parquet"): "mmlu/test.parquet",
    }
    for (split, name), file in places.items():
        link = root / "datasets" / split.repository / "resolve" / split.revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(DATA / file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINISERIES_MIRROR", root.as_uri())
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root / "cache"))
        yield root


class NoCheckpoints:
    """Nothing here runs long enough to leave one."""

    def newest(self) -> None:
        return None


def make(produce: Produce, identity: Any, inputs: dict[str, Path], output: Path) -> Metrics:
    """Run one stage."""
    scratch = output.with_name(f"{output.name}-scratch")
    for folder in (output, scratch):
        folder.mkdir()
    context = StageContext(
        name="real",
        key="0" * 64,
        identity=identity,
        inputs=inputs,
        output=output,
        scratch=scratch,
        checkpoints=NoCheckpoints(),
        report=Reporter(io.StringIO()),
        runtime=Runtime(evaluate_steps=10, validation_batches=2),
    )
    return produce(context)


def identity(rows: int | None, row_tokens: int) -> MixtureIdentity:
    data_sets = [MixtureTask(name=name, rows=rows, epochs=epochs) for name, epochs in EPOCHS.items()]
    return MixtureIdentity(
        training=(*data_sets, *(MixtureTask(name=own(name), rows=rows) for name in OWN)),
        validation=(MixtureTask(name="gsm8k", rows=100), MixtureTask(name="mmlu", rows=200)),
        persona=PERSONA,
        row_tokens=row_tokens,
        seed=42,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Path], mirror: Path, tokenizer: Tokenizer) -> Made:
    """Everything in the files, once or thrice."""
    folder = tmp_path_factory.mktemp("real") / "mixture"
    return Made(folder, make(mixture.produce, identity(None, ROW_TOKENS), inputs, folder), tokenizer)


Stretches = list[tuple[str, bool]]  # text or the name of a special token, and whether it is supervised


def gsm8k_stretches() -> Iterator[Stretches]:
    for row in lines("gsm8k/train.jsonl"):
        answer: Stretches = []
        for piece in re.split(r"(<<[^<>]*>>)", row["answer"]):
            if piece.startswith("<<"):
                expression, result = piece[2:-2].rsplit("=", 1)
                answer += [("<|python_start|>", True), (expression, True), ("<|python_end|>", True)]
                answer += [("<|output_start|>", False), (result, False), ("<|output_end|>", False)]
            elif piece:
                answer.append((piece, True))
        yield turns([row["question"]], [answer])


def mmlu_stretches() -> Iterator[Stretches]:
    for name in ("val", "dev"):
        for row in pq.read_table(DATA / f"mmlu/{name}.parquet").to_pylist():
            question = "\n".join(
                [
                    f"Multiple choice: {row['question']}",
                    *(f"- {choice}={letter}" for letter, choice in zip("ABCD", row["choices"], strict=True)),
                    "",
                    "Answer with the letter of the right choice only.",
                ]
            )
            yield turns([question], [[("ABCD"[row["answer"]], True)]])


def own_stretches(name: str) -> Iterator[Stretches]:
    for value in lines(f"chat/{name}"):
        texts = [message["content"] for message in (value if isinstance(value, list) else value["messages"])]
        yield turns(texts[::2], [[(text, True)] for text in texts[1::2]])


def turns(questions: list[str], answers: list[Stretches]) -> Stretches:
    found: Stretches = [("<|bos|>", False)]
    for index, question in enumerate(questions):
        found += [("<|user_start|>", False), (question, False), ("<|user_end|>", False)]
        if index < len(answers):
            found += [("<|assistant_start|>", False), *answers[index], ("<|assistant_end|>", True)]
    return found


@dataclass
class Expected:
    """What one task must come to, all epochs together."""

    conversations: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    truncated: int = 0
    cut_tokens: int = 0
    without_answer: int = 0
    longest: int = 0


@pytest.fixture(scope="module")
def expected(tokenizer: Tokenizer) -> tuple[dict[str, Expected], Counter[bytes]]:
    """The counts of each task, and every conversation with its mask as bytes, as often as it must be packed."""
    encoding = tokenizer.encoding
    special = {name: len(tokenizer.ranks) + index for index, name in enumerate(SPECIAL_TOKENS)}
    tasks = {"gsm8k": gsm8k_stretches(), "mmlu": mmlu_stretches()} | {own(name): own_stretches(name) for name in OWN}
    counts, packed = {}, Counter[bytes]()
    for name, conversations in tasks.items():
        count, epochs = counts.setdefault(name, Expected()), EPOCHS.get(name, 1)
        for stretches in conversations:
            pieces = [
                ([special[text]] if text in special else encoding.encode_ordinary(text), bit) for text, bit in stretches
            ]
            ids = list(chain.from_iterable(piece for piece, _ in pieces))
            mask = list(chain.from_iterable([int(bit)] * len(piece) for piece, bit in pieces))
            cut = max(0, len(ids) - ROW_TOKENS)
            count.longest = max(count.longest, len(ids))
            ids, mask = ids[:ROW_TOKENS], mask[:ROW_TOKENS]
            count.conversations += epochs
            count.tokens += epochs * len(ids)
            count.supervised_tokens += epochs * sum(mask)
            count.truncated += epochs * (cut > 0)
            count.cut_tokens += epochs * cut
            count.without_answer += epochs * (sum(mask) == 0)
            if sum(mask):
                packed[as_bytes(ids, mask)] += epochs
    return counts, packed


def as_bytes(ids: Any, mask: Any) -> bytes:
    return np.array(ids, dtype=np.int64).tobytes() + np.array(mask, dtype=np.uint8).tobytes()


def test_the_files_hold_as_many_conversations_as_their_list_of_sources_says(expected: Any) -> None:
    counts, _ = expected
    found = {name.rpartition("/")[2].partition("#")[0]: count.conversations for name, count in counts.items()}
    assert found == {"gsm8k": 7473, "mmlu": 3 * (1542 + 285), OWN[0]: 996, OWN[1]: 1592}


def test_what_the_stage_counts_is_what_the_files_come_to(made: Made, expected: Any) -> None:
    counts, _ = expected
    tasks: Any = made.metrics["tasks"]
    assert {name: {field: task[field] for field in vars(counts[name])} for name, task in tasks.items()} == {
        name: vars(count) for name, count in counts.items()
    }
    for name, task in tasks.items():
        assert sum(task["lengths"].values()) == counts[name].conversations
        assert task["skipped"] == 0
    for total in ("conversations", "supervised_tokens", "truncated"):
        assert made.metrics[total] == sum(getattr(count, total) for count in counts.values())
    assert made.metrics["dropped"] == sum(count.without_answer for count in counts.values())


def test_rows_and_masks_hold_every_conversation_of_the_files_as_often_as_asked_and_nothing_else(
    made: Made, expected: Any
) -> None:
    counts, packed = expected
    rows, masks = Rows.open(made.folder, "train.rows"), Rows.open(made.folder, "train.mask")
    assert rows.count == masks.count == made.metrics["rows"]
    found, padding = Counter[bytes](), 0
    for row, mask in zip(rows[0 : rows.count], masks[0 : masks.count], strict=True):
        starts = [*np.flatnonzero(row == made.tokenizer.bos), ROW_TOKENS]
        for start, end in pairwise(starts):
            if end - start == 1:
                padding += 1
                assert mask[start] == 0
            else:
                found[as_bytes(row[start:end], mask[start:end])] += 1
    assert found == packed
    assert int(masks[0 : masks.count].sum()) == sum(count.supervised_tokens for count in counts.values())
    assert made.metrics["padding_share"] == pytest.approx(padding / (rows.count * ROW_TOKENS))


@pytest.mark.slow
def test_a_tiny_model_learns_from_them(
    tmp_path: Path, inputs: dict[str, Path], mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pretrained on a book for a few steps, then fine-tuned in one pass over some of the files."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    length = 256
    architecture = replace(tiny.tiny_architecture(1), vocabulary_size=VOCABULARY, sequence_length=length)
    packed = PackIdentity(
        row_tokens=length + 1,
        algorithm="best-fit-crop",
        buffer_documents=100,
        direction="forward",
        direction_seed=42,
        first_shard=0,
        end_shard=1,
    )
    make(pack.produce, packed, inputs, tmp_path / "rows")
    trained = TrainingIdentity(
        architecture=architecture,
        optimization=tiny.OPTIMIZATION,
        steps=8,
        batch_tokens=8 * length,
        precision="fp32",
        seed=42,
        direction="forward",
        stream_shards=1,
        first_step=0,
        end_step=8,
        use_rope=True,
    )
    stream = {"group-000": tmp_path / "rows", "validation": tmp_path / "rows", "tokenizer": inputs["tokenizer"]}
    make(pretrain.produce, trained, stream, tmp_path / "base")
    tuning = tiny.finetuning(tiny.OPTIMIZATION, length, 8 * length)
    tuned = FinetuneIdentity(
        optimization=tuning.optimization,
        sequence_length=length,
        batch_tokens=tuning.batch_tokens,
        precision="fp32",
        seed=42,
    )
    rows = make(mixture.produce, identity(80, length + 1), inputs, tmp_path / "mixture")["rows"]
    folders = {"base": tmp_path / "base", "mixture": tmp_path / "mixture", "tokenizer": inputs["tokenizer"]}
    measured = make(finetune.produce, tuned, folders, tmp_path / "tuned")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "tuned" / "loss.jsonl").read_text().splitlines()]
    assert len(losses) == measured["steps"] == -(-int(str(rows)) // 8)
    assert len(losses) >= 24
    assert all(np.isfinite(losses))
    assert np.mean(losses[len(losses) // 2 :]) < 0.8 * np.mean(losses[:5])  # the last rows hold what fitted nowhere
