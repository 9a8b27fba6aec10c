"""A toy model with a tokenizer, packed rows and a mixture, all made by the real producers' own writers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_models import toy_transformer

from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.evaluation import evaluate
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState, save
from core.model.transformer import Transformer
from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.held_out import HeldOut, write_held_out
from core.posttraining.questions import Question, write_questions
from core.posttraining.rendering import render
from core.recipes.tiny import OPTIMIZATION
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import Metrics, SavedCheckpoint, StageContext
from core.stages.identity import EvaluateIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

CONTEXT = 96  # T
ARCHITECTURE = Architecture(
    depth=2,
    width=32,
    heads=2,
    key_value_heads=2,
    head_width=16,
    mlp="swiglu",
    mlp_width=64,
    vocabulary_size=256 + len(SPECIAL_TOKENS),
    sequence_length=CONTEXT,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)


QUESTIONS = (
    Question("word-choice", Conversation((user("Which?\n- one=A\n- two=B"), assistant("B"))), ("A", "B")),
    Question("arithmetic", Conversation((user("1 + 1"), assistant("#### 2")))),
)


class NoCheckpoints:
    """An evaluation saves nothing on its way."""

    def save(self, step: int, directory: Path) -> None:
        raise AssertionError("an evaluation saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        return None


@dataclass(frozen=True)
class Workplace:
    """Folders of a model, its tokenizer, and what to evaluate it on."""

    root: Path
    model: Transformer
    tokenizer: Tokenizer

    def pack(self, texts: Sequence[str]) -> Path:
        """Rows of T+1 tokens, one a text, cut or padded with BOS."""
        folder = self.root / "pack"
        folder.mkdir()
        with RowsWriter(folder, "rows", CONTEXT + 1, self.tokenizer.vocabulary_size) as rows:
            for text in texts:
                tokens = [self.tokenizer.bos, *self.tokenizer.encode(text)]
                rows.append((tokens + [self.tokenizer.bos] * (CONTEXT + 1))[: CONTEXT + 1])
        return folder

    def mixture(self, examples: Sequence[HeldOut]) -> Path:
        """Validation rows and masks, one conversation a row, and the conversations as text."""
        folder = self.root / "mixture"
        folder.mkdir()
        write_held_out(folder, examples)
        width = CONTEXT + 1
        with (
            RowsWriter(folder, "validation.rows", width, self.tokenizer.vocabulary_size) as rows,
            RowsWriter(folder, "validation.mask", width, 2) as masks,
        ):
            for example in examples:
                rendered = render(example.conversation, self.tokenizer, width)
                rest = width - len(rendered)
                rows.append([*rendered.tokens, *[self.tokenizer.bos] * rest])
                masks.append([*rendered.mask, *[0] * rest])
        return folder

    def corpus(self, texts: Sequence[str]) -> Path:
        """A corpus whose only shard, held out, has these documents."""
        folder = self.root / "corpus"
        folder.mkdir()
        write_documents(folder / shard_file(0), texts)
        shard = Shard(number=0, file=shard_file(0), documents=len(texts), characters=sum(map(len, texts)))
        Corpus(source="test", revision="1", validation_shard=0, shards=(shard,)).save(folder)
        return folder

    def evaluate(
        self,
        validation: Path,
        suite: str,
        *,
        questions: Sequence[Question] = QUESTIONS,
        further: Mapping[str, Path] | None = None,
        **sizes: int,
    ) -> tuple[Path, Metrics]:
        """Run the stage; return its folder and metrics. Unless `further` has other inputs, `train` is `validation`."""
        write_questions(self.root, questions)
        if not (self.root / "corpus").is_dir():
            self.corpus(["A document with nothing to hide."])
        output = self.root / f"evaluation-{len(list(self.root.glob('evaluation-*')))}"
        output.mkdir()
        identity = {
            "validation_tokens": 10_000,
            "samples": 3,
            "sample_tokens": 10,
            "answer_tokens": 12,
            "passages": 0,
            "held_out_shard": 0,
            "seed": 42,
            **sizes,
        }
        context = StageContext(
            name=suite,
            key="0" * 64,
            identity=EvaluateIdentity(suite=suite, **identity),
            inputs={
                "model": self.root / "model",
                "tokenizer": self.root / "tokenizer",
                "validation": validation,
                "questions": self.root,
                "train": validation,
                "corpus": self.root / "corpus",
                **(further or {}),
            },
            output=output,
            scratch=self.root,
            checkpoints=NoCheckpoints(),
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )
        return output, evaluate.produce(context)


@pytest.fixture
def model() -> Transformer:
    """Random weights, none of them zero, RoPE off."""
    return toy_transformer(ARCHITECTURE, use_rope=False).eval()


@pytest.fixture
def tokenizer() -> Tokenizer:
    """One token a byte."""
    return Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, {bytes([byte]): byte for byte in range(256)})


@pytest.fixture
def save_model(tmp_path: Path, model: Transformer) -> Callable[..., None]:
    """`save_model(phase="base")` writes the model artifact."""

    def write(phase: str) -> None:
        (tmp_path / "model").mkdir(exist_ok=True)
        state = ModelState(
            phase=phase,
            step=7,
            steps=9,
            use_rope=model.use_rope,
            direction="forward",
            sequence_length=CONTEXT,
            batch_tokens=CONTEXT,
            tokens_seen=700,
            precision="fp32",
            seed=1,
            architecture=ARCHITECTURE,
            optimization=OPTIMIZATION,
        )
        save(tmp_path / "model", state, model.state_dict())

    return write


@pytest.fixture
def workplace(tmp_path: Path, model: Transformer, tokenizer: Tokenizer, save_model: Callable[..., None]) -> Workplace:
    """A fine-tuned model with its tokenizer, in folders."""
    save_model("sft")
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    return Workplace(tmp_path, model, tokenizer)
