"""Packing: rows of real documents, exact accounts, and one-line refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data import pack
from core.data.corpus.artifact import read_documents
from core.data.packed_documents import NOWHERE, PackedDocuments
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.stages.context import StageError
from core.stages.identity import PackIdentity


def identity(**changes: Any) -> PackIdentity:
    standard = PackIdentity(
        row_tokens=33,
        algorithm="best-fit-crop",
        buffer_documents=50,
        direction="forward",
        direction_seed=0,
        first_shard=0,
        end_shard=1,
    )
    return dataclasses.replace(standard, **changes)


def test_rows_of_real_documents_are_full_begin_with_bos_and_hold_their_text(
    make: Callable, docs: Any, docs_tokenizer: Any
) -> None:
    made = make(pack, identity(row_tokens=257), tokenizer=docs_tokenizer.folder, corpus=docs.folder)
    tokenizer, rows = Tokenizer.load(docs_tokenizer.folder), Rows.open(made.folder)
    matrix = rows[:]
    assert rows.row_tokens == 257
    assert (matrix[:, 0] == tokenizer.bos).all()
    assert matrix.max() <= tokenizer.bos, "a special token other than BOS was packed"
    documents = {text for batch in read_documents(docs.folder / "shard_00000.parquet", 100) for text in batch}
    for row in matrix[::25]:
        *whole, last = tokenizer.decode(row).split("<|bos|>")[1:]
        assert all(text in documents for text in whole)
        assert any(document.startswith(last.rstrip("\ufffd")) for document in documents)


def test_the_statistics_account_for_every_token_and_document(make: Callable, docs: Any, docs_tokenizer: Any) -> None:
    made = make(pack, identity(end_shard=2), tokenizer=docs_tokenizer.folder, corpus=docs.folder)
    statistics, tokenizer = Rows.open(made.folder).statistics, Tokenizer.load(docs_tokenizer.folder)
    texts = [
        text
        for number in (0, 1)
        for batch in read_documents(docs.folder / f"shard_{number:05d}.parquet", 100)
        for text in batch
    ]
    tokens = sum(1 + len(tokenizer.encode(text)) for text in texts)
    assert statistics["documents"] == len(texts)
    assert statistics["characters"] == sum(map(len, texts))
    assert statistics["tokens"] == tokens
    assert statistics["kept_tokens"] + statistics["cropped_tokens"] + statistics["dropped_tokens"] == tokens
    assert statistics["kept_tokens"] == statistics["rows"] * 33
    assert statistics["characters_per_token"] == pytest.approx(sum(map(len, texts)) / (tokens - len(texts)))
    assert made.metrics["rows"] == statistics["rows"]


def test_only_the_named_shards_are_packed(make: Callable, corpus_of: Callable, docs_tokenizer: Any) -> None:
    corpus = corpus_of(["first " * 40], ["second " * 40], ["third " * 40])
    made = make(pack, identity(first_shard=1, end_shard=2), tokenizer=docs_tokenizer.folder, corpus=corpus)
    text = Tokenizer.load(docs_tokenizer.folder).decode(Rows.open(made.folder)[:].ravel())
    assert "second" in text
    assert "first" not in text
    assert "third" not in text


def test_empty_documents_are_skipped_and_counted(make: Callable, corpus_of: Callable, docs_tokenizer: Any) -> None:
    corpus = corpus_of(["", "some words " * 40, "", ""])
    made = make(pack, identity(), tokenizer=docs_tokenizer.folder, corpus=corpus)
    assert (made.metrics["documents"], made.metrics["empty_documents"]) == (1, 3)


@pytest.mark.parametrize("documents", [[], [""], ["three short words"]])
def test_documents_that_fill_no_row_are_refused(
    make: Callable, corpus_of: Callable, docs_tokenizer: Any, documents: list[str]
) -> None:
    with pytest.raises(StageError, match=r"shards \[0, 1\) of by-hand hold \d+ tokens, fewer than one row of 33"):
        make(pack, identity(), tokenizer=docs_tokenizer.folder, corpus=corpus_of(documents))


def test_a_shard_that_the_corpus_does_not_hold_is_named(
    make: Callable, corpus_of: Callable, docs_tokenizer: Any
) -> None:
    with pytest.raises(StageError, match="holds shards 0, 1 of by-hand, not 2"):
        make(pack, identity(end_shard=3), tokenizer=docs_tokenizer.folder, corpus=corpus_of(["a"], ["b"]))


@pytest.mark.parametrize("direction", ["backward", "bidirectional", "each"])
def test_a_direction_that_the_vocabulary_has_no_token_for_is_refused(
    make: Callable, corpus_of: Callable, docs_tokenizer: Any, direction: str
) -> None:
    with pytest.raises(StageError, match=r"the tokenizer has no special token <\|(for|back)ward\|>"):
        make(pack, identity(direction=direction), tokenizer=docs_tokenizer.folder, corpus=corpus_of(["a"]))


def test_an_unknown_algorithm_is_refused(make: Callable, corpus_of: Callable, docs_tokenizer: Any) -> None:
    with pytest.raises(StageError, match="no packing algorithm is called 'next-fit'"):
        make(pack, identity(algorithm="next-fit"), tokenizer=docs_tokenizer.folder, corpus=corpus_of(["a"]))


def test_a_document_that_is_no_text_is_named_by_file_and_row(
    make: Callable, corpus_of: Callable, docs_tokenizer: Any
) -> None:
    corpus: Path = corpus_of(["a"] * 300)
    table = pa.table({"text": pa.array(["a"] * 200 + [None] + ["a"] * 99)})
    pq.write_table(table, corpus / "shard_00000.parquet")
    with pytest.raises(StageError, match=r"shard_00000\.parquet: row 200 has no text"):
        make(pack, identity(), tokenizer=docs_tokenizer.folder, corpus=corpus)
    pq.write_table(pa.table({"text": pa.array([1, 2])}), corpus / "shard_00000.parquet")
    with pytest.raises(StageError, match="column 'text' holds int64, not string"):
        make(pack, identity(), tokenizer=docs_tokenizer.folder, corpus=corpus)


def test_the_index_finds_the_text_of_every_packed_document(make: Callable, docs: Any, docs_tokenizer: Any) -> None:
    made = make(pack, identity(end_shard=2), tokenizer=docs_tokenizer.folder, corpus=docs.folder)
    index = PackedDocuments.decode((made.folder / "rows.documents.npy").read_bytes())
    texts = [
        text
        for number in (0, 1)
        for batch in read_documents(docs.folder / f"shard_{number:05d}.parquet", 100)
        for text in batch
    ]
    matrix, tokenizer = Rows.open(made.folder)[:], Tokenizer.load(docs_tokenizer.folder)
    for text, (row, start, kept, tokens) in zip(texts[::7], index.records[::7].tolist(), strict=True):
        assert tokens == 1 + len(tokenizer.encode(text))
        if row != NOWHERE:
            assert matrix[row, start : start + kept].tolist() == [tokenizer.bos, *tokenizer.encode(text)][:kept]
    shards = made.metrics["shards"]
    assert [shard["file"] for shard in shards] == ["shard_00000.parquet", "shard_00001.parquet"]
    assert sum(shard["kept_tokens"] for shard in shards) == made.metrics["kept_tokens"]
    assert sum(shard["dropped_tokens"] for shard in shards) == made.metrics["dropped_tokens"]
