"""Any dataset with a column of text, streamed by the real `datasets` from files in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.corpus import collect
from core.data.corpus.artifact import Corpus, read_documents, shard_file
from core.stages.context import StageError
from core.stages.identity import CorpusIdentity


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """25 rows in two files; row 7 has no text."""
    place = tmp_path / "dataset"
    place.mkdir()
    rows = [{"body": f"document {number}" if number != 7 else None, "id": number} for number in range(25)]
    for name, part in (("train-0.jsonl", rows[:12]), ("train-1.jsonl", rows[12:])):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    return f"dataset:{place}"


def identity(source: str, first: int, end: int) -> CorpusIdentity:
    return CorpusIdentity(source=source, revision="main", first_shard=first, end_shard=end)


def texts(folder: Path, number: int) -> list[str]:
    return [text for batch in read_documents(folder / shard_file(number), 100) for text in batch]


def test_shards_are_runs_of_rows_and_the_one_after_the_last_is_held_out(make: Callable, dataset: str) -> None:
    source = f"{dataset}#text=body&shards=3&documents=6&on_bad_row=skip"
    made = make(collect, identity(source, 1, 4))
    assert texts(made.folder, 1) == [f"document {number}" for number in range(6, 12) if number != 7]
    assert texts(made.folder, 3) == [f"document {number}" for number in range(18, 24)]
    assert Corpus.load(made.folder).validation_shard == 3
    read: Any = made.metrics["read"]
    assert [(file["rows"], file["skipped"]) for file in read] == [(5, 1), (6, 0), (6, 0)]
    assert read[0]["file"].endswith("/train[6:12]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("text=body&shards=3&documents=6", "row 7 has no text; repair it, or add on_bad_row=skip"),
        ("shards=3&documents=6", "has no column 'text'; its columns are body, id"),
        ("text=body&shards=4&documents=6&on_bad_row=skip", "has 25 rows, too few for shard 4"),
        ("text=body&shards=many", "shards must be a positive number, e.g. shards=100; it is 'many'"),
        ("text=body&shards=3&split=nowhere", "cannot be read: "),
    ],
)
def test_what_cannot_be_read_is_one_line(make: Callable, dataset: str, options: str, message: str) -> None:
    shards = 5 if "shards=4" in options else 4
    with pytest.raises(StageError) as caught:
        make(collect, identity(f"{dataset}#{options}", 0, shards))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
