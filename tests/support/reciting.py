"""Models that say what a test wants: each token decides the next one, through the real engine and transformer.

With nothing written back into the residual stream, the logits are a function of the newest token alone; a wide
embedding and an unembedding made of its rows turn that into a table. One token a byte.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from committing import commit_files

from artifacts.store import Store
from core.chat.artifact import model_stages
from core.chat.text_model import TextModel
from core.data.tokenizer import Tokenizer
from core.evaluation.subject import Subject
from core.export.source import parameter_shapes
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState, Phase, save
from core.recipes import tiny
from core.recipes.recipe import Direction
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
CONTEXT = 4096
ARCHITECTURE = Architecture(
    depth=1,
    width=272,  # at least one dimension a token
    heads=17,
    key_value_heads=1,
    head_width=16,
    mlp="relu2",
    mlp_width=16,
    vocabulary_size=256 + len(SPECIAL_TOKENS),
    sequence_length=CONTEXT,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)
STATE = ModelState(
    phase="sft",
    step=1,
    steps=1,
    use_rope=False,
    direction="forward",
    sequence_length=CONTEXT,
    batch_tokens=CONTEXT,
    tokens_seen=CONTEXT,
    precision="fp32",
    seed=1,
    architecture=ARCHITECTURE,
    optimization=tiny.OPTIMIZATION,
)

Table = list[
    tuple[str, str]
]  # a symbol is a character or the name of a special token; of characters, every byte counts


def chain(*symbols: str) -> Table:
    """Each symbol leads to the next."""
    return list(pairwise(symbols))


LETTERS = [*chain(*ALPHABET), ("z", "a")]  # an answer without an end
ENDLESS = [("<|assistant_start|>", "a"), *LETTERS]
SUM = [  # what the call prints is the engine's to add
    *chain("<|assistant_start|>", *"Sum: ", "<|python_start|>", *"6*7", "<|python_end|>"),
    *chain("<|output_end|>", "!", "<|assistant_end|>"),
]
COFFEE = chain("<|assistant_start|>", *"caf", "é", "☕", "<|assistant_end|>")


def write_reciter(folder: Path, table: Table, *, direction: Direction = "forward", context: int = CONTEXT) -> None:
    """Write `model` and `tokenizer` into `folder`: a chat model that goes on by `table`; of two ways, a base model."""
    special = SPECIAL_TOKENS if direction == "forward" else (*SPECIAL_TOKENS, *DIRECTION_TOKENS)
    tokenizer = Tokenizer(SPLIT_PATTERN, special, {bytes([byte]): byte for byte in range(256)})
    architecture = replace(ARCHITECTURE, vocabulary_size=tokenizer.vocabulary_size, sequence_length=context)
    phase: Phase = "sft" if direction == "forward" else "base"
    state = replace(STATE, architecture=architecture, direction=direction, phase=phase, sequence_length=context)
    for name in ("model", "tokenizer"):
        (folder / name).mkdir(parents=True)
    tokenizer.save(folder / "tokenizer")
    save(folder / "model", state, _weights(architecture, _following(tokenizer, table)))


def reciter(
    folder: Path, name: str, table: Table, *, direction: Direction = "forward", context: int = CONTEXT
) -> TextModel:
    """The same, loaded."""
    write_reciter(folder / name, table, direction=direction, context=context)
    return TextModel(name, Subject.load(folder / name / "model", folder / name / "tokenizer"))


def reciting_store(home: Path) -> str:
    """The path of a store: `tiny` says the alphabet, `tiny_bidirectional` continues it, `tiny_drope_50` has coffee."""
    store = Store.open(f"file://{home}/store", home / "cache")
    tables: dict[str, tuple[Table, Direction]] = {
        "tiny": (ENDLESS, "forward"),
        "tiny_drope_50": (COFFEE, "forward"),
        "tiny_bidirectional": (LETTERS, "bidirectional"),
    }
    for tag, (table, direction) in tables.items():
        write_reciter(home / tag, table, direction=direction)
        stages = model_stages(tag)
        for stage, name in ((stages.model, "model"), (stages.tokenizer, "tokenizer")):
            if store.manifest(stage.address) is None:
                commit_files(store, stage, {file.name: file.read_bytes() for file in (home / tag / name).iterdir()})
    return str(home / "store")


def alphabet(length: int, first: str = "a") -> str:
    """What LETTERS give from `first` on."""
    start = ALPHABET.index(first)
    return "".join(ALPHABET[(start + place) % 26] for place in range(length))


def _following(tokenizer: Tokenizer, table: Table) -> dict[int, int]:
    following: dict[int, int] = {}
    for before, after in table:
        line = [*_tokens(tokenizer, before)[-1:], *_tokens(tokenizer, after)]
        for token, next_token in pairwise(line):
            assert following.setdefault(token, next_token) == next_token, f"{before!r} leads to two places"
    return following


def _tokens(tokenizer: Tokenizer, symbol: str) -> list[int]:
    return [tokenizer.special(symbol)] if symbol in tokenizer.special_tokens else list(symbol.encode())


def _weights(architecture: Architecture, following: dict[int, int]) -> dict[str, torch.Tensor]:
    weights = {name: torch.zeros(shape) for name, shape in parameter_shapes(architecture).items()}
    weights["transformer.wte.weight"] = torch.eye(architecture.vocabulary_size, architecture.width)
    for token, next_token in following.items():
        weights["lm_head.weight"][next_token, token] = 4.0
    return weights
