"""Pickled tokenizers: tiktoken's are read in every protocol, nothing else is, and no pickle gets to run anything."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import tiktoken

from core.adoption.encoding_pickle import read_encoding
from core.data.tokenizer import Tokenizer
from core.stages.context import StageError


class Program:
    """Unpickled the usual way, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_encoding_is_read_in_every_protocol(tmp_path: Path, tokenizer: Tokenizer, protocol: int) -> None:
    path = tmp_path / "tokenizer.pkl"
    path.write_bytes(pickle.dumps(tokenizer.encoding, protocol=protocol))
    assert read_encoding(path) == tokenizer


def encoding(ranks: dict[bytes, int], special: dict[str, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding("theirs", pat_str=".", mergeable_ranks=ranks, special_tokens=special)


BYTES = {bytes([byte]): byte for byte in range(256)}


@pytest.mark.parametrize(
    ("pickled", "line"),
    [
        ({"a": 1}, "it holds a dict"),
        (print, "it asks for builtins.print"),
        (encoding(BYTES, {"<a>": 300}), "its ids must be those of the merges from 0 on"),
        (encoding(BYTES, {}), "then those of the special tokens"),
    ],
    ids=["dictionary", "function", "gap", "no special token"],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, pickled: object, line: str) -> None:
    path = tmp_path / "tokenizer.pkl"
    path.write_bytes(pickle.dumps(pickled))
    with pytest.raises(StageError, match=line):
        read_encoding(path)


def test_a_program_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.pkl"
    path.write_bytes(pickle.dumps(Program(tmp_path / "ran")))
    with pytest.raises(StageError, match=r"is no pickled tiktoken encoding: it asks for pathlib\S*\.Path"):
        read_encoding(path)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_pickle_is_one_line(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.pkl"
    path.write_bytes(pickle.dumps(tokenizer.encoding)[:100])
    with pytest.raises(StageError, match=r"^\S*tokenizer\.pkl: is no pickled tiktoken encoding: [^\n]*$"):
        read_encoding(path)
    with pytest.raises(StageError, match="not there; name the folder of the tokenizer"):
        read_encoding(tmp_path / "absent.pkl")
