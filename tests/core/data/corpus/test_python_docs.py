"""The documentation that this Python carries: real prose, split without overlap, named by a revision."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data import pack, tokenizer_training
from core.data.corpus import collect, python_docs
from core.data.corpus.artifact import Corpus, read_documents
from core.stages.context import StageError
from core.stages.identity import CorpusIdentity, PackIdentity


def documents(folder: Path, number: int) -> list[str]:
    return [text for batch in read_documents(folder / f"shard_{number:05d}.parquet", 500) for text in batch]


def test_it_is_prose_about_python_in_shards_of_equal_size(docs: Any) -> None:
    corpus = Corpus.load(docs.folder)
    sizes = [shard.characters for shard in corpus.shards]
    assert sum(sizes) > 1_000_000
    assert max(sizes) < 1.2 * min(sizes)
    everything = "\n".join(text for shard in corpus.shards for text in documents(docs.folder, shard.number))
    for words in ('The "assert" statement', "def loads(s, ", "class Counter(dict):", "Module argparse"):
        assert words in everything


def test_no_long_paragraph_stands_both_in_training_and_in_validation(docs: Any) -> None:
    def paragraphs(numbers: range) -> set[str]:
        texts = (text for number in numbers for text in documents(docs.folder, number))
        split = (" ".join(part.lower().split()) for text in texts for part in re.split(r"\n\s*\n", text))
        return {paragraph for paragraph in split if len(paragraph) >= 100}

    training, validation = paragraphs(range(8)), paragraphs(range(8, 9))
    assert len(validation) > 200
    assert not training & validation


def test_the_description_counts_what_the_shards_hold(docs: Any) -> None:
    corpus = Corpus.load(docs.folder)
    assert corpus.validation_shard == 8
    assert [shard.number for shard in corpus.training_shards] == list(range(8))
    for shard in corpus.shards:
        texts = documents(docs.folder, shard.number)
        assert (shard.documents, shard.characters) == (len(texts), sum(map(len, texts)))
        assert all(text.strip() for text in texts)


def test_every_stage_is_byte_identical_in_another_process_with_another_hash_seed(
    docs: Any,
    docs_tokenizer: Any,
    make: Callable,
    make_elsewhere: Callable,
    docs_identity: CorpusIdentity,
    tokenizer_identity: Callable,
) -> None:
    packing = PackIdentity(
        row_tokens=257,
        algorithm="best-fit-crop",
        buffer_documents=1000,
        direction="forward",
        direction_seed=0,
        first_shard=0,
        end_shard=8,
    )
    inputs = {"tokenizer": docs_tokenizer.folder, "corpus": docs.folder}
    packed = make(pack, packing, **inputs).folder
    for module, identity, here, roles in (
        (collect, docs_identity, docs.folder, {}),
        (tokenizer_training, tokenizer_identity(), docs_tokenizer.folder, {"corpus": docs.folder}),
        (pack, packing, packed, inputs),
    ):
        there, process = make_elsewhere(module, identity, {"PYTHONHASHSEED": "7"}, **roles)
        assert process.returncode == 0, process.stderr
        assert contents(here) == contents(there)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_part_of_the_shards_holds_what_the_whole_does(docs: Any, make: Callable) -> None:
    part = CorpusIdentity(source=python_docs.NAME, revision=python_docs.revision(), first_shard=3, end_shard=4)
    made = make(collect, part)
    assert (made.folder / "shard_00003.parquet").read_bytes() == (docs.folder / "shard_00003.parquet").read_bytes()
    assert Corpus.load(made.folder).validation_shard is None


def test_another_interpreter_is_refused(make: Callable) -> None:
    foreign = CorpusIdentity(source="python-docs", revision="cpython-2.7.18+0123456789ab", first_shard=0, end_shard=1)
    with pytest.raises(
        StageError, match=r"cpython-2\.7\.18\+0123456789ab needs that very interpreter; this one carries"
    ):
        make(collect, foreign)


def test_the_revision_names_the_interpreter_and_its_sources() -> None:
    assert re.fullmatch(r"cpython-3\.\d+\.\d+\+[0-9a-f]{12}", python_docs.revision())
    assert "json/decoder.py" in python_docs.source_files()
    folders = {part for path in python_docs.source_files() for part in path.split("/")[:-1]}
    assert not folders & {"test", "tests", "idlelib", "site-packages", "__pycache__"}


def test_asking_for_the_revision_loads_neither_arrow_nor_torch() -> None:
    program = "import sys; from core.data.corpus import python_docs; python_docs.revision(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "torch", "huggingface_hub"} & set(loaded)
