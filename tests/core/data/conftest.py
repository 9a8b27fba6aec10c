"""Stages of data preparation run for real: on the documentation that this Python carries, and on small corpora."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.data import tokenizer_training
from core.data.corpus import collect, python_docs
from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import Metrics
from core.stages.identity import CorpusIdentity, TokenizerIdentity

PROGRAM = Path(__file__).parent / "run_stage.py"


_specification = importlib.util.spec_from_file_location("run_stage", PROGRAM)
run_stage = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(run_stage)


@dataclasses.dataclass
class Made:
    """What a stage left: its folder, its metrics, and every line it reported."""

    folder: Path
    metrics: Metrics
    log: str


Make = Callable[..., Made]


def make_stage(root: Path, module: ModuleType, identity: Any, **inputs: Path) -> Made:
    """Run `module.produce` in this process with a fresh output folder below `root`."""
    number = len(list(root.glob("*.output")))
    output, scratch, stream = root / f"{number}.output", root / f"{number}.scratch", io.StringIO()
    metrics = run_stage.make(module.__name__, identity, output, scratch, inputs, stream)
    return Made(output, metrics, stream.getvalue())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(module, identity, role=folder, ...)` runs one stage here and returns what it left."""
    return lambda module, identity, **inputs: make_stage(tmp_path, module, identity, **inputs)


@pytest.fixture
def make_elsewhere(tmp_path: Path) -> Callable[..., tuple[Path, subprocess.CompletedProcess[str]]]:
    """The same in a process of its own with the given environment; returns the folder and the finished process."""

    def run(
        module: ModuleType, identity: Any, environment: Mapping[str, str], **inputs: Path
    ) -> tuple[Path, subprocess.CompletedProcess[str]]:
        number = len(list(tmp_path.glob("*.identity.json")))
        output, scratch = tmp_path / f"{number}.elsewhere", tmp_path / f"{number}.scratch-elsewhere"
        description = tmp_path / f"{number}.identity.json"
        description.write_text(json.dumps(dataclasses.asdict(identity)))
        roles = [f"{role}={folder}" for role, folder in inputs.items()]
        process = subprocess.run(
            [sys.executable, str(PROGRAM), module.__name__, str(description), str(output), str(scratch), *roles],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return output, process

    return run


@pytest.fixture
def corpus_of(tmp_path: Path) -> Callable[..., Path]:
    """`corpus_of([documents of shard 0], [of shard 1], ..., validation_shard=1)` writes a corpus artifact."""

    def write(*shards: Sequence[str], validation_shard: int | None = None) -> Path:
        folder = tmp_path / f"corpus-{len(list(tmp_path.glob('corpus-*')))}"
        folder.mkdir()
        listed = []
        for number, documents in enumerate(shards):
            write_documents(folder / shard_file(number), documents)
            characters = sum(map(len, documents))
            listed.append(
                Shard(number=number, file=shard_file(number), documents=len(documents), characters=characters)
            )
        Corpus(source="by-hand", revision="1", validation_shard=validation_shard, shards=tuple(listed)).save(folder)
        return folder

    return write


def docs_identity() -> CorpusIdentity:
    """All nine shards of the Python documentation."""
    return CorpusIdentity(source=python_docs.NAME, revision=python_docs.revision(), first_shard=0, end_shard=9)


def tokenizer_identity(**changes: Any) -> TokenizerIdentity:
    """A tokenizer of 512 tokens with the family's pattern and special tokens."""
    standard = TokenizerIdentity(
        vocabulary_size=512,
        pattern=SPLIT_PATTERN,
        special_tokens=SPECIAL_TOKENS,
        max_characters=10_000_000,
        document_cap=10_000,
    )
    return dataclasses.replace(standard, **changes)


@pytest.fixture(name="docs_identity")
def _docs_identity() -> CorpusIdentity:
    return docs_identity()


@pytest.fixture(name="tokenizer_identity")
def _tokenizer_identity() -> Callable[..., TokenizerIdentity]:
    return tokenizer_identity


@pytest.fixture(scope="session")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The corpus `python-docs`, made once."""
    return make_stage(tmp_path_factory.mktemp("docs"), collect, docs_identity())


@pytest.fixture(scope="session")
def docs_tokenizer(tmp_path_factory: pytest.TempPathFactory, docs: Made) -> Made:
    """512 tokens trained on it."""
    return make_stage(
        tmp_path_factory.mktemp("tokenizer"), tokenizer_training, tokenizer_identity(), corpus=docs.folder
    )
