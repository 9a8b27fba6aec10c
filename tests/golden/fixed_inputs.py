"""Input artifacts that never change, one folder each, made when first asked for.

No golden stage reads what another one made: when the meaning of one kind changes, its golden test alone fails.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from fixed_lineage import write_lineage
from fixed_models import BASE, CHAT, LENGTH, VOCABULARY, write_model
from fixed_study import DROPPED, KEPT
from fixed_text import numbers, some_documents
from written_evaluations import written

from core.data.best_fit import BestFitPacker
from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.packed_documents import PackedDocuments
from core.data.rows import RowsWriter
from core.data.tokenizer import Tokenizer
from core.export.certificate import Certificate, Compared, at_most, describe
from core.model.checkpoint import ModelState, load_weights
from core.posttraining.conversation import Conversation, Part, assistant, user
from core.posttraining.held_out import HeldOut, write_held_out
from core.posttraining.questions import Question, write_questions
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

MERGES = (
    *("he", " t", "th", "er", " a", "in", "re", "or", "es", "on", "st", "en"),
    *(" the", "ing", "ed", " o", " w", " s", "ea", "le", "ll", " f", " l"),
)
TALKS = (
    HeldOut("spelling", True, Conversation((user("Spell the word: cat"), assistant("cat:c,a,t")))),
    HeldOut("spelling", True, Conversation((user("Spell the word: row"), assistant("row:r,o,w")))),
    HeldOut("chat", False, Conversation((user("Hi!"), assistant("One and one: ", Part("python", "1+1"), " is 2.")))),
)

CORE_TASKS: dict[str, tuple[str, int, int, list[dict[str, object]]]] = {
    "ends": (
        "multiple_choice",
        1,
        50,
        [
            {"query": f"the {one} is", "choices": ["hot", "cold"], "gold": n % 2}
            for n, one in enumerate(("sea", "sun", "ice"))
        ],
    ),
    "pronouns": (
        "schema",
        0,
        50,
        [
            {"context_options": [f"{one} and I", f"I and {one}"], "continuation": "ran", "gold": 0}
            for one in ("he", "she")
        ],
    ),
    "words": (
        "language_modeling",
        0,
        0,
        [{"context": "one more", "continuation": one} for one in ("time", "a", "e" * 40)],
    ),
    "absent": ("schema", 0, 50, []),
}


class FixedInputs:
    """Folders below `root`; every attribute is the path of one artifact."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, name: str) -> Path:
        """A new folder."""
        path = self._root / name
        path.mkdir(parents=True)
        return path

    @cached_property
    def corpus(self) -> Path:
        """Shards 0 and 1 for training, shard 2 held out."""
        folder, listed = self.folder("corpus"), []
        for number in range(3):
            texts = some_documents(60, seed=number)
            write_documents(folder / shard_file(number), texts)
            characters = sum(map(len, texts))
            listed.append(Shard(number=number, file=shard_file(number), documents=60, characters=characters))
        Corpus(source="golden", revision="1", validation_shard=2, shards=tuple(listed)).save(folder)
        return folder

    @cached_property
    def tokenizer(self) -> Path:
        """Bytes and a few merges; the family's special tokens."""
        folder = self.folder("tokenizer")
        ranks = {bytes([byte]): byte for byte in range(256)}
        ranks |= {merge.encode(): 256 + rank for rank, merge in enumerate(MERGES)}
        tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks)
        assert tokenizer.vocabulary_size == VOCABULARY
        tokenizer.save(folder)
        return folder

    @cached_property
    def rows(self) -> Path:
        """A group of 50 packed rows."""
        return self._rows("rows", 50, seed=1)

    @cached_property
    def more_rows(self) -> Path:
        """Another group: 12 steps of 6 rows wrap around."""
        return self._rows("more-rows", 17, seed=2)

    @cached_property
    def core_bundle(self) -> Path:
        """Three tasks of CORE, one of each type, and one whose data are not there."""
        folder, lines = self.folder("core-bundle"), ["Eval Task,Random baseline"]
        (folder / "eval_data").mkdir()
        tasks = []
        for label, (kind, shots, baseline, examples) in CORE_TASKS.items():
            path = f"{label}.jsonl"
            tasks.append({"label": label, "dataset_uri": path, "num_fewshot": [shots], "icl_task_type": kind})
            lines.append(f"{label},{baseline}")
            if examples:
                (folder / "eval_data" / path).write_text("".join(json.dumps(example) + "\n" for example in examples))
        (folder / "core.yaml").write_text(json.dumps({"icl_tasks": tasks}))
        (folder / "eval_meta_data.csv").write_text("\n".join(lines) + "\n")
        return folder

    @cached_property
    def text_rows(self) -> Path:
        """A group of rows of text, one shard of 40 documents, with its index."""
        folder, tokenizer = self.folder("text-rows"), Tokenizer.load(self.tokenizer)
        sequences = [np.array([tokenizer.bos, *tokenizer.encode(text)], np.uint32) for text in self._texts]
        packer = BestFitPacker(8 * LENGTH + 1, 10)
        with RowsWriter(folder, "rows", packer.capacity, VOCABULARY) as writer:
            for row in packer.rows(sequences):
                writer.append(row)
            placed, kept = (np.array(one, np.int64) for one in (packer.placed, packer.placed_tokens))
            lengths = np.array([len(sequence) for sequence in sequences], np.int64)
            index = PackedDocuments.placed(lengths, placed, kept, packer.capacity)
            index.save(folder, "rows")
            shard = Shard(number=0, file=shard_file(0), documents=len(sequences), characters=0)
            writer.statistics["shards"] = [asdict(account) for account in index.accounts([shard])]
        return folder

    @cached_property
    def quoting_questions(self) -> Path:
        """Three questions, of which the first quotes the text of `text_rows`."""
        folder = self.folder("quoting-questions")
        quoted = " ".join(self._texts[3].split()[:6])
        asked = [("reading", f"Who wrote: {quoted}?"), ("reading", "Nobody wrote this at all."), ("counting", "2 + 2?")]
        write_questions(folder, [Question(task, Conversation((user(text), assistant("Me.")))) for task, text in asked])
        return folder

    @cached_property
    def questions(self) -> Path:
        """Two ways to ask, and a question that does not fit the context of the chat model."""
        folder, sums = self.folder("questions"), [("2+3", "5"), ("words " * 40, "6")]
        asked = [Question("arithmetic", Conversation((user(text), assistant(f"#### {sum}")))) for text, sum in sums]
        choice = Conversation((user("- one=A\n- two=B\n- three=C"), assistant("B")))
        write_questions(folder, [*asked, Question("word-choice", choice, ("A", "B", "C"))])
        return folder

    @cached_property
    def _texts(self) -> list[str]:
        return list(some_documents(40, seed=7))

    @cached_property
    def validation_rows(self) -> Path:
        """Rows to measure on."""
        return self._rows("validation-rows", 11, seed=3)

    @cached_property
    def mixture(self) -> Path:
        """21 rows of T+1, the last step of 6 is filled up."""
        return self._mixture("mixture", LENGTH)

    @cached_property
    def long_mixture(self) -> Path:
        """The same of 2T+1."""
        return self._mixture("long-mixture", 2 * LENGTH)

    @cached_property
    def base_model(self) -> Path:
        """Half way through its horizon, with RoPE, SwiGLU."""
        return self._model("base-model", BASE)

    @cached_property
    def chat_model(self) -> Path:
        """Fine-tuned, without RoPE, ReLU squared."""
        return self._model("chat-model", CHAT)

    @cached_property
    def checkpoint(self) -> Path:
        """A base model and its tokenizer as nanochat writes them."""
        folder, architecture = self.folder("checkpoint"), BASE.architecture
        torch.save(load_weights(self.base_model), folder / "model_000006.pt")
        config = {"sequence_len": LENGTH, "vocab_size": VOCABULARY, "n_embd": architecture.width}
        config |= {
            "n_layer": architecture.depth,
            "n_head": architecture.heads,
            "n_kv_head": architecture.key_value_heads,
        }
        meta = {"step": 6, "val_bpb": 2.25, "model_config": config, "loop_state": {"smooth_train_loss": 4.5}}
        (folder / "meta_000006.json").write_text(json.dumps(meta))
        (folder / "tokenizer.pkl").write_bytes(pickle.dumps(Tokenizer.load(self.tokenizer).encoding))
        return folder

    @cached_property
    def native_base(self) -> Path:
        """What publishing reads of a native export."""
        return self._native("native-base", BASE)

    @cached_property
    def native_chat(self) -> Path:
        """The same of a fine-tune."""
        return self._native("native-chat", CHAT)

    @cached_property
    def hf_export(self) -> Path:
        """A Hugging Face export, for publishing: of either model."""
        folder = self.folder("hf-export")
        (folder / "model.safetensors").write_bytes(b"weights" * 100)
        (folder / "config.json").write_text('{"model_type": "nanochat"}\n')
        logits = at_most("logits", 0.0, 1e-3, "largest difference of a logit", Compared(72, "positions", 42))
        Certificate(
            layout="hf", passed=True, versions={}, difference="", checks=(logits,), files=describe(folder)
        ).write(folder)
        return folder

    @cached_property
    def lineage(self) -> Path:
        """What the published models were made from."""
        folder = self.folder("lineage")
        write_lineage(folder)
        return folder

    @cached_property
    def evaluation(self) -> Path:
        """An evaluation, for publishing."""
        folder = self.folder("evaluation")
        bits = {
            "value": 2.0625,
            "unit": "bits per byte",
            "sample_size": 98765,
            "sample_unit": "bytes",
            "interval": None,
        }
        exact = {"value": 0.5, "unit": "share", "sample_size": 64, "sample_unit": "questions", "interval": [0.38, 0.62]}
        results = {
            "bits_per_byte": {**bits, "interval": None},
            "exact_answers/spelling": {**exact, "interval": [0.38, 0.62]},
        }
        wrote = {"title": "spelling", "prompt": "Spell: cat", "answer": "c,a,t", "reference": "c,a,t"}
        document = {"suite": "base", "results": results, "samples": [wrote]}
        (folder / "evaluation.json").write_text(json.dumps(document))
        (folder / "samples.md").write_text("# Samples\n")
        return folder

    @property
    def evaluate_of_kept(self) -> Path:
        """The evaluation of a model that kept RoPE, for a study."""
        return self._studied[f"evaluate:{KEPT.name}"]

    @property
    def long_context_of_kept(self) -> Path:
        """How it reads beyond its trained length."""
        return self._studied[f"long_context:{KEPT.name}"]

    @property
    def evaluate_of_dropped(self) -> Path:
        """The evaluation of its sibling that dropped RoPE."""
        return self._studied[f"evaluate:{DROPPED.name}"]

    @property
    def long_context_of_dropped(self) -> Path:
        """How that one reads beyond its trained length."""
        return self._studied[f"long_context:{DROPPED.name}"]

    @cached_property
    def _studied(self) -> dict[str, Path]:
        return written(self._root / "studied", (KEPT, DROPPED))

    def _rows(self, name: str, rows: int, seed: int) -> Path:
        folder = self.folder(name)
        with RowsWriter(folder, "rows", LENGTH + 1, VOCABULARY) as writer:
            writer.append(_counting(rows, LENGTH + 1, seed))
        return folder

    def _mixture(self, name: str, length: int) -> Path:
        folder = self.folder(name)
        for split, rows in (("train", 21), ("validation", 5)):
            with RowsWriter(folder, f"{split}.rows", length + 1, VOCABULARY) as writer:
                writer.append(_counting(rows, length + 1, seed=rows))
            mask = np.arange(rows * (length + 1)).reshape(rows, length + 1) % 3 > 0
            mask[1] = False  # a conversation without a supervised token
            with RowsWriter(folder, f"{split}.mask", length + 1, 2) as writer:
                writer.append(mask.astype(int))
        write_held_out(folder, TALKS)
        return folder

    def _model(self, name: str, state: ModelState) -> Path:
        self._root.mkdir(exist_ok=True)
        write_model(self._root / name, state)
        return self._root / name

    def _native(self, name: str, state: ModelState) -> Path:
        folder = self.folder(name)
        meta = {
            "step": state.step,
            "architecture": asdict(state.architecture),
            "phase": state.phase,
            "use_rope": state.use_rope,
            "user_config": {"precision": state.precision},
            "max_seq_len": state.sequence_length,
            "total_batch_size": state.batch_tokens,
            "tokens_seen": state.tokens_seen,
        }
        (folder / f"meta_{state.step:06d}.json").write_text(json.dumps(meta))
        (folder / f"model_{state.step:06d}.pt").write_bytes(b"native weights" * 100)
        return folder


def _counting(rows: int, row_tokens: int, seed: int) -> np.ndarray:
    """Rows [rows, row_tokens] that count up from a drawn id in a drawn stride of 1 to 3: learnable in a few steps."""
    draw = numbers(seed)
    starts = np.array(list(islice(draw, rows)))[:, None]
    strides = 1 + np.array(list(islice(draw, rows)))[:, None] % 3
    return (starts + strides * np.arange(row_tokens)) % VOCABULARY
