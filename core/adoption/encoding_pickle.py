"""`tokenizer.pkl` of a stranger, read without running anything of theirs.

A pickle is a program. Here it may build dictionaries, strings, numbers and bytes, and one thing more, the state of a
`tiktoken.Encoding`; whatever else it asks for is refused by name. The encoding's own code is not run either.
"""

from __future__ import annotations

import pickle
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.data.tokenizer import Tokenizer
from core.stages.context import StageError

ENCODING = ("tiktoken.core", "Encoding")
LATIN1_BYTES = ("_codecs", "encode")  # how protocols before 3 write bytes


class _State(BaseModel):
    """What tiktoken pickles of an encoding that it does not know by name."""

    model_config = ConfigDict(strict=True)

    pat_str: str
    mergeable_ranks: dict[bytes, int]
    special_tokens: dict[str, int]


class _Encoding:
    """Stands in for `tiktoken.Encoding`: keeps the state it is given."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Knows two names."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ENCODING:
            return _Encoding
        if (module, name) == LATIN1_BYTES:
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_encoding(path: Path) -> Tokenizer:
    """The tokenizer in a pickled `tiktoken.Encoding`; raises `StageError` for a pickle of anything else."""
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
    except FileNotFoundError:
        raise StageError(f"{path}: not there; name the folder of the tokenizer with --tokenizer") from None
    except Exception as error:  # noqa: BLE001 -- a damaged or hostile pickle can raise anything
        raise StageError(f"{path}: is no pickled tiktoken encoding: {' '.join(str(error).split())}") from None
    if not isinstance(found, _Encoding):
        raise StageError(f"{path}: is no pickled tiktoken encoding: it holds a {type(found).__name__}")
    if isinstance(found.state, str):
        raise StageError(f"{path}: only names tiktoken's encoding {found.state!r}; one that was trained is needed")
    try:
        return _tokenizer(_State.model_validate(found.state))
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
        raise StageError(f"{path}: its encoding has no proper {field or 'state'}") from None
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None


def _tokenizer(state: _State) -> Tokenizer:
    ranks, special = state.mergeable_ranks, sorted(state.special_tokens, key=state.special_tokens.__getitem__)
    ids = [*sorted(ranks.values()), *(state.special_tokens[name] for name in special)]
    if ids != list(range(len(ids))) or not special:
        raise ValueError("its ids must be those of the merges from 0 on, then those of the special tokens")
    return Tokenizer(state.pat_str, tuple(special), ranks)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it writes bytes in {encoding}")
    return text.encode("latin1")
