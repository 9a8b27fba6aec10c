"""The trained tokenizer at work: text to ids and back by tiktoken, loaded from one folder.

Guarantees: text round-trips exactly; text that spells a special token stays text (ids of special tokens
come only from `special`); special ids are the last ones of the vocabulary, in the order of `special_tokens`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken

from core.stages.context import StageError

RANKS_FILE = "ranks.tiktoken"
DESCRIPTION_FILE = "tokenizer.json"
TOKEN_BYTES_FILE = "token_bytes.npy"
SEPARATOR = "\x00\x1e\x01"  # of texts that are tokenised together; it must not overlap itself


@dataclass(frozen=True)
class Tokenizer:
    """A byte-pair vocabulary. `ranks` maps the bytes of a token to its id; special tokens follow at the top."""

    pattern: str
    special_tokens: tuple[str, ...]
    ranks: dict[bytes, int]

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the tokenizer artifact in `folder`; raise `StageError` when it is not one."""
        try:
            description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            ranks = _read_ranks(folder / RANKS_FILE)
        except FileNotFoundError as error:
            raise StageError(f"{folder} holds no tokenizer: {Path(error.filename).name} is missing") from error
        except (ValueError, binascii.Error) as error:
            raise StageError(f"the tokenizer in {folder} is damaged: {error}") from error
        tokenizer = cls(description["pattern"], tuple(description["special_tokens"]), ranks)
        if tokenizer.vocabulary_size != description["vocabulary_size"]:
            raise StageError(
                f"the tokenizer in {folder} has {tokenizer.vocabulary_size} tokens, "
                f"{DESCRIPTION_FILE} says {description['vocabulary_size']}"
            )
        return tokenizer

    def save(self, folder: Path) -> None:
        """Write the three files of the artifact into `folder`."""
        lines = [
            base64.b64encode(token) + b" " + str(rank).encode()
            for token, rank in sorted(self.ranks.items(), key=lambda item: item[1])
        ]
        (folder / RANKS_FILE).write_bytes(b"\n".join(lines) + b"\n")
        description = {
            "pattern": self.pattern,
            "special_tokens": list(self.special_tokens),
            "vocabulary_size": self.vocabulary_size,
        }
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
        np.save(folder / TOKEN_BYTES_FILE, self.token_bytes)

    @property
    def vocabulary_size(self) -> int:
        """V: mergeable and special tokens."""
        return len(self.ranks) + len(self.special_tokens)

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """The tiktoken encoding; built on first use."""
        first = len(self.ranks)
        return tiktoken.Encoding(
            name="miniseries",
            pat_str=self.pattern,
            mergeable_ranks=self.ranks,
            special_tokens={name: first + index for index, name in enumerate(self.special_tokens)},
            explicit_n_vocab=self.vocabulary_size,
        )

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """int32 [V]: UTF-8 length of each token's raw bytes, 0 for special tokens; the divisor of bits per byte."""
        lengths = np.zeros(self.vocabulary_size, dtype=np.int32)
        for token, rank in self.ranks.items():
            lengths[rank] = len(token)
        return lengths

    @property
    def bos(self) -> int:
        """Id of the token that begins every document: the first special token."""
        return len(self.ranks)

    def special(self, name: str) -> int:
        """Id of the special token `name`, such as `<|user_start|>`; raise `StageError` when there is none."""
        if name not in self.special_tokens:
            raise StageError(f"the tokenizer has no special token {name}; it has {', '.join(self.special_tokens)}")
        return len(self.ranks) + self.special_tokens.index(name)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without BOS; text that spells a special token stays text."""
        return self.encoding.encode_ordinary(text)

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """`encode` without a Python object a token: 4 bytes each instead of 36, and other threads run meanwhile."""
        return self.encoding.encode_to_numpy(text, disallowed_special=())

    def encode_arrays(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """`encode_array` of each text in one call: other threads run for as long as all of them take.

        They are joined by a special token that none of them spells; tiktoken splits there before it looks at a text.
        """
        if not texts or any(SEPARATOR in text for text in texts):
            return [self.encode_array(text) for text in texts]
        joined = self._joined.encode_to_numpy(SEPARATOR.join(texts), allowed_special={SEPARATOR}, disallowed_special=())
        cuts = np.flatnonzero(joined == self.vocabulary_size).tolist()
        return [joined[start:end] for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, None], strict=True)]

    @cached_property
    def _joined(self) -> tiktoken.Encoding:
        """The encoding of texts joined by `SEPARATOR`, whose id is V."""
        return tiktoken.Encoding(
            name="miniseries-joined",
            pat_str=self.pattern,
            mergeable_ranks=self.ranks,
            special_tokens={SEPARATOR: self.vocabulary_size},
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are no valid UTF-8 become U+FFFD, special tokens their names."""
        return self.encoding.decode(list(ids))


def _read_ranks(path: Path) -> dict[bytes, int]:
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token, validate=True)] = int(rank)
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise ValueError(f"{path.name}: ranks are not 0 ... {len(ranks) - 1}")
    return ranks
