"""How well a vocabulary compresses: bytes per token on fixed texts, beside the vocabularies of GPT-2 and GPT-4.

The texts in `tokenizer_texts` were written for this project, so no vocabulary was trained on them. `references.json`
records what the references make of each, with its sha256 (`benchmarks.tokenizer_references` recomputes it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter

from core.data.tokenizer import Tokenizer

EVALUATION_FILE = "evaluation.json"
REFERENCES_FILE = "references.json"
TEXTS = ("news", "science", "code", "math", "multilingual")
FOLDER = files("core.data") / "tokenizer_texts"


@dataclass(frozen=True, kw_only=True)
class ReferenceText:
    """One text, and how many tokens each reference vocabulary makes of it."""

    name: str
    bytes: int  # of UTF-8
    sha256: str
    tokens: Mapping[str, int]  # reference -> tokens


@dataclass(frozen=True, kw_only=True)
class References:
    """The recorded numbers, and how they were made."""

    made_by: str
    vocabulary_sizes: Mapping[str, int]  # reference -> tokens it has, special ones included
    texts: tuple[ReferenceText, ...]


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How one text fares; more bytes per token are better."""

    text: str
    bytes: int
    tokens: int
    bytes_per_token: float
    references: Mapping[str, float]  # reference -> its bytes per token

    def __str__(self) -> str:
        others = ", ".join(f"{name} {value:.2f}" for name, value in self.references.items())
        return f"{self.text}: {self.bytes_per_token:.2f} bytes a token ({others})"


def text_of(name: str) -> str:
    """The text called `name`, one of `TEXTS`."""
    return (FOLDER / f"{name}.txt").read_bytes().decode()


def described(name: str, tokens: Mapping[str, int]) -> ReferenceText:
    """The record of a text of which the references make so many `tokens`."""
    content = text_of(name).encode()
    digest = hashlib.sha256(content).hexdigest()
    return ReferenceText(name=name, bytes=len(content), sha256=digest, tokens=tokens)


@cache
def references() -> References:
    """What is recorded of GPT-2's and GPT-4's vocabularies."""
    return TypeAdapter(References).validate_json((FOLDER / REFERENCES_FILE).read_bytes())


def vocabularies() -> tuple[str, ...]:
    """The references by name."""
    return tuple(references().vocabulary_sizes)


def evaluate(tokenizer: Tokenizer) -> tuple[Compression, ...]:
    """Every text, in the order of `TEXTS`."""
    return tuple(_compression(tokenizer, text) for text in references().texts)


def save(evaluation: tuple[Compression, ...], folder: Path) -> None:
    """Write `evaluation.json`."""
    text = json.dumps({"texts": [asdict(one) for one in evaluation]}, indent=2) + "\n"
    (folder / EVALUATION_FILE).write_text(text, encoding="utf-8")


def _compression(tokenizer: Tokenizer, text: ReferenceText) -> Compression:
    tokens = len(tokenizer.encode(text_of(text.name)))
    return Compression(
        text=text.name,
        bytes=text.bytes,
        tokens=tokens,
        bytes_per_token=text.bytes / tokens,
        references={name: text.bytes / count for name, count in text.tokens.items()},
    )
