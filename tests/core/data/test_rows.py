"""Packed rows: what is written is read back, anywhere in an endless stream, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.rows import Rows, RowsWriter, Stream
from core.stages.context import StageError


def write(folder: Path, name: str, matrix: np.ndarray, vocabulary_size: int = 1000) -> Rows:
    with RowsWriter(folder, name, matrix.shape[1], vocabulary_size) as writer:
        writer.append(matrix)
    return Rows.open(folder, name)


def test_rows_come_back_as_written_with_their_statistics(tmp_path: Path) -> None:
    with RowsWriter(tmp_path, "train.rows", row_tokens=3, vocabulary_size=1000) as writer:
        writer.append([1, 2, 999])
        writer.append(np.array([[4, 5, 6], [7, 8, 9]]))
        writer.statistics["documents"] = 2
    rows = Rows.open(tmp_path, "train.rows")
    assert (rows.count, rows.row_tokens, rows.statistics["documents"]) == (3, 3, 2)
    np.testing.assert_array_equal(rows[0:2], [[1, 2, 999], [4, 5, 6]])
    assert rows[1:3].dtype == np.int64


@pytest.mark.parametrize(
    ("vocabulary_size", "dtype"), [(2, "uint8"), (512, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_the_stored_type_is_the_smallest_that_holds_the_vocabulary(
    tmp_path: Path, vocabulary_size: int, dtype: str
) -> None:
    highest = vocabulary_size - 1
    rows = write(tmp_path, "rows", np.array([[0, highest]]), vocabulary_size)
    assert json.loads((tmp_path / "rows.json").read_text())["dtype"] == dtype
    assert (tmp_path / "rows.bin").read_bytes() == np.array([0, highest], f"<u{np.dtype(dtype).itemsize}").tobytes()
    assert rows[0:1].tolist() == [[0, highest]]


@pytest.mark.parametrize("bad", [[[1, 2]], [[1, 2, 1000]], [[-1, 2, 3]]])
def test_a_row_of_another_width_or_with_an_id_outside_the_vocabulary_is_refused(
    tmp_path: Path, bad: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match=r"expected \[n, 3\]|leave the vocabulary of 1000"):
        write_three_wide(tmp_path, bad)
    with pytest.raises(StageError, match=r"rows\.json is missing"):
        Rows.open(tmp_path)


def write_three_wide(folder: Path, rows: list[list[int]]) -> None:
    with RowsWriter(folder, "rows", row_tokens=3, vocabulary_size=1000) as writer:
        writer.append(rows)


def test_a_matrix_of_the_wrong_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    write(tmp_path, "rows", np.array([[1, 2, 3], [4, 5, 6]]))
    with (tmp_path / "rows.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(StageError, match=r"10 bytes, but rows\.json says 2 rows of 3 uint16 = 12 bytes"):
        Rows.open(tmp_path)


def test_a_missing_matrix_is_named(tmp_path: Path) -> None:
    write(tmp_path, "rows", np.array([[1, 2, 3]]))
    (tmp_path / "rows.bin").unlink()
    with pytest.raises(StageError, match=r"rows\.bin is missing"):
        Rows.open(tmp_path)


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    start=st.integers(0, 60),
    count=st.integers(0, 40),
)
def test_a_stream_is_its_groups_one_after_another_again_and_again(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], start: int, count: int
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    everything = np.arange(2 * sum(sizes)).reshape(-1, 2)
    ends = np.cumsum(sizes)
    groups = [
        write(folder, f"group-{index}", everything[end - size : end])
        for index, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
    stream = Stream(groups)
    assert stream.rows_per_epoch == sum(sizes)
    expected = everything[np.arange(start, start + count) % sum(sizes)]
    np.testing.assert_array_equal(stream.read(start, count), expected)


def test_a_stream_of_no_rows_or_of_unequal_rows_is_refused(tmp_path: Path) -> None:
    empty = write(tmp_path, "empty", np.empty((0, 3), dtype=int))
    with pytest.raises(StageError, match="needs at least one packed row"):
        Stream([empty])
    with pytest.raises(StageError, match="needs at least one packed row"):
        Stream([])
    with pytest.raises(StageError, match="cannot mix rows of 2 and 3 tokens"):
        Stream([empty, write(tmp_path, "narrow", np.array([[1, 2]]))])
