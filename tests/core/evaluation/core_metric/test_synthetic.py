"""The bundle that is made from held-out text: the same for the same seed, solvable, and never cut by a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.evaluation.core_metric.bundle import Bundle
from core.evaluation.core_metric.content import Content
from core.evaluation.core_metric.synthetic import write_synthetic
from core.stages.context import StageError

SHARD = 1
WORDS = ("river", "stone", "window", "quiet", "light", "house", "under", "garden", "walks", "slowly")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A held-out shard of 30 documents of eight sentences."""
    folder, random = tmp_path_factory.mktemp("corpus"), Random(3)
    texts = [" ".join(f"{' '.join(random.choices(WORDS, k=12)).capitalize()}." for _ in range(8)) for _ in range(30)]
    write_documents(folder / shard_file(SHARD), texts)
    shard = Shard(number=SHARD, file=shard_file(SHARD), documents=len(texts), characters=sum(map(len, texts)))
    Corpus(source="toy", revision="1", validation_shard=SHARD, shards=(shard,)).save(folder)
    return folder


@pytest.fixture
def made(corpus: Path, tmp_path: Path) -> Callable[..., Path]:
    """`made(examples, seed)` writes a bundle."""

    def make(examples: int = 20, seed: int = 7) -> Path:
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write_synthetic(corpus, SHARD, examples, seed, folder)
        return folder

    return make


def lines(folder: Path, label: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "eval_data" / f"{label}.jsonl").read_text().splitlines()]


def test_it_has_every_type_of_task_and_as_many_questions_as_are_wanted(made: Callable[..., Path]) -> None:
    bundle = Bundle.read(made())
    assert {task.type for task in bundle.present} == {"multiple_choice", "schema", "language_modeling"}
    assert [len(bundle.examples(task)) for task in bundle.present] == [20] * 4
    assert {task.shots for task in bundle.present} == {0, 3}
    assert bundle.title.startswith("synthetic")


def test_a_seed_decides_every_byte(made: Callable[..., Path]) -> None:
    assert Content.of(made(seed=7)) == Content.of(made(seed=7))
    assert Content.of(made(seed=7)).sha256 != Content.of(made(seed=8)).sha256


def test_the_right_option_completes_a_sentence_of_the_text(made: Callable[..., Path], corpus: Path) -> None:
    folder = made()
    golds = set()
    for line in lines(folder, "sentence_end"):
        assert len(set(line["choices"])) == 4
        assert len(f"{line['query']} {line['choices'][line['gold']]}".split()) == 12
        golds.add(line["gold"])
    assert golds == {0, 1, 2, 3}
    for line in lines(folder, "repeated_word"):
        assert line["context"].endswith(f": {line['continuation']}")


def test_no_sentence_is_asked_about_twice(made: Callable[..., Path]) -> None:
    folder = made()
    asked = [line["query"] for line in lines(folder, "sentence_end")]
    asked += [line["context_options"][line["gold"]] for line in lines(folder, "sentence_start")]
    assert len(set(asked)) == len(asked)


def test_a_small_shard_makes_a_small_bundle_and_too_small_a_one_is_refused(
    made: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = Bundle.read(made(examples=1000))
    assert [len(bundle.examples(task)) for task in bundle.present] == [60] * 4
    with pytest.raises(StageError, match=f"shard {SHARD} has 240 sentences of 8 words and more; hold more out"):
        made(examples=3)
