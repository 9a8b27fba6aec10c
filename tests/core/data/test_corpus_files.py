"""A corpus of one's own files: read row by row, pinned by what was listed, bad rows named or counted."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_server import running_moto

from artifacts.address import NAME
from core.data.corpus import collect
from core.data.corpus.artifact import Corpus, read_documents, shard_file
from core.data.corpus.file_listing import FileListing
from core.data.corpus.source_text import readable_name
from core.data.corpus.sources import find_source
from core.data.corpus.watch import Watch
from core.stages.context import StageError
from core.stages.identity import CorpusIdentity


def parquet(values: Any, column: str = "text") -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({column: values}), sink, row_group_size=2)
    return sink.getvalue()


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """`folder({name: bytes}, options)` writes files and returns the source that reads them all."""

    def write(files: dict[str, bytes], options: str = "") -> str:
        place = tmp_path / "files"
        place.mkdir(exist_ok=True)
        for name, content in files.items():
            (place / name).write_bytes(content)
        return f"files:{place}/*{options}"

    return write


def identity(source: str) -> CorpusIdentity:
    found = FileListing(source)
    return CorpusIdentity(source=source, revision=found.revision, first_shard=0, end_shard=found.validation_shard + 1)


def texts(folder: Path, number: int) -> list[str]:
    return [text for batch in read_documents(folder / shard_file(number), 100) for text in batch]


def test_every_format_is_read_and_the_last_file_is_held_out(make: Callable, folder: Callable) -> None:
    source = folder(
        {
            "a.parquet": parquet(["one", "two", "three"]),
            "b.jsonl": lines({"text": "four"}, {"text": "fünf", "url": "ignored"}) + b"\n",
            "c.jsonl.gz": gzip.compress(lines({"text": "six"}), mtime=0),
            "d.txt": b"a whole file\n\nis one document",
            "e.md": b"held out",
        }
    )
    made = make(collect, identity(source))
    assert [texts(made.folder, number) for number in range(5)] == [
        ["one", "two", "three"],
        ["four", "fünf"],
        ["six"],
        ["a whole file\n\nis one document"],
        ["held out"],
    ]
    corpus = Corpus.load(made.folder)
    assert corpus.validation_shard == 4
    assert {path.name for path in made.folder.iterdir()} == {"corpus.json", *map(shard_file, range(5))}


def test_what_was_read_is_recorded_file_by_file(make: Callable, folder: Callable) -> None:
    contents = {"a.jsonl": lines({"text": "one"}, {"text": None}), "b.jsonl": lines({"text": "two"})}
    made = make(collect, identity(folder(contents, "#on_bad_row=skip")))
    read = made.metrics["read"]
    assert [(file["bytes"], file["sha256"], file["rows"], file["skipped"]) for file in read] == [
        (len(contents["a.jsonl"]), hashlib.sha256(contents["a.jsonl"]).hexdigest(), 1, 1),
        (len(contents["b.jsonl"]), hashlib.sha256(contents["b.jsonl"]).hexdigest(), 1, 0),
    ]
    assert [file["file"].rpartition("/")[2] for file in read] == ["a.jsonl", "b.jsonl"]
    assert made.metrics["skipped_rows"] == 1


def test_more_files_than_shards_are_dealt_in_order(make: Callable, folder: Callable, monkeypatch: Any) -> None:
    monkeypatch.setattr("core.data.corpus.file_listing.MOST_SHARDS", 3)
    source = folder({f"{number}.txt": str(number).encode() for number in range(7)})
    made = make(collect, identity(source))
    assert [texts(made.folder, number) for number in range(3)] == [["0", "1"], ["2", "3"], ["4", "5", "6"]]


# file, what is in it (made when it is needed: some is large), what is said of it, rows skipped
BAD = [
    ("bad.jsonl", lambda: lines({"text": "one"}, {"text": None}), "row 1 has no text", 1),
    ("bad.jsonl", lambda: lines({"text": 7}), "row 0 holds int, not text", 1),
    ("bad.jsonl", lambda: lines({"body": "one"}), "row 0 has no field 'text'", 1),
    ("bad.jsonl", lambda: lines("text"), "row 0 is no JSON object with a field 'text'", 1),
    ("bad.jsonl", lambda: lines({"text": "one"}) + b'{"text": "t', "row 1 is no JSON: ", 1),
    ("bad.jsonl", lambda: b'{"text": "\xff"}\n', "row 0 is not UTF-8: byte 10 is 0xff", 1),
    ("bad.jsonl", lambda: b'{"text": "\\ud800"}\n', "row 0 holds half of a surrogate pair", 1),
    (
        "bad.jsonl",
        lambda: b'{"text": "' + b"x" * 100_000_000 + b'"}\n',
        "row 0 is a line of more than 100,000,000 bytes",
        1,
    ),
    ("bad.txt", lambda: b"fine until \xfe", "row 0 is not UTF-8: byte 11 is 0xfe", 1),
    ("bad.txt", lambda: b"x" * 60_000_000, "row 0 has more than 50,000,000 bytes", 1),
    ("bad.txt", lambda: b" " * 1_000_000, "row 0 has more than 500,000 characters of white space in a row", 1),
    ("bad.parquet", lambda: parquet(["one", "two", None]), "row 2 has no text", 1),
    ("bad.parquet", lambda: parquet([1, 2]), "row 0 holds int, not text", 2),
    ("bad.parquet", lambda: parquet(["x" * 60_000_000]), "row 0 has 60,000,000 bytes, 50,000,000 at most", 1),
    (
        "bad.parquet",
        lambda: parquet(pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xff"]).buffers())),
        "row 0 is not UTF-8: byte 0 is 0xff",
        1,
    ),
]


@pytest.mark.parametrize(("name", "content", "message", "skipped"), BAD, ids=[message for _, _, message, _ in BAD])
def test_a_bad_row_is_named_or_skipped_and_counted(
    make: Callable, folder: Callable, name: str, content: Callable[[], bytes], message: str, skipped: int
) -> None:
    files = {name: content(), "good.jsonl": lines({"text": "good"})}
    with pytest.raises(StageError) as caught:
        make(collect, identity(folder(files)))
    assert str(caught.value).startswith(f"{name}: {message}")
    assert "add on_bad_row=skip to the source" in str(caught.value)
    made = make(collect, identity(folder({}, "#on_bad_row=skip")))
    assert made.metrics["skipped_rows"] == skipped
    assert texts(made.folder, 1) == ["good"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.parquet", parquet(["one", "two"])[:-20], "bad.parquet cannot be read: "),
        ("bad.parquet", parquet(["one"], "body"), "bad.parquet has no column 'text'; its columns are body"),
        ("bad.jsonl.gz", gzip.compress(lines({"text": "one"}), mtime=0)[:-9], "bad.jsonl.gz cannot"),
        ("bad.pdf", b"%PDF", "bad.pdf is of no known format; its name must end in .parquet, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_whatever_bad_rows_are_worth(
    make: Callable, folder: Callable, name: str, content: bytes, message: str
) -> None:
    source = folder({name: content, "good.jsonl": lines({"text": "good"})}, "#on_bad_row=skip")
    with pytest.raises(StageError) as caught:
        make(collect, identity(source))
    assert message in str(caught.value)


def test_another_column_is_named_in_the_source(make: Callable, folder: Callable) -> None:
    source = folder({"a.jsonl": lines({"body": "one"}), "b.parquet": parquet(["two"], "body")}, "#text=body")
    made = make(collect, identity(source))
    assert texts(made.folder, 0) + texts(made.folder, 1) == ["one", "two"]


def test_a_corpus_without_a_document_is_refused(make: Callable, folder: Callable) -> None:
    with pytest.raises(StageError, match="hold no document"):
        make(collect, identity(folder({"a.jsonl": b"", "b.jsonl": b"\n"})))


def test_files_that_changed_since_they_were_planned_are_refused(make: Callable, folder: Callable) -> None:
    source = folder({"a.txt": b"one", "b.txt": b"two"})
    planned = identity(source)
    folder({"a.txt": b"another"})
    with pytest.raises(
        StageError, match=r"changed: it was files-[0-9a-f]{12}, it is files-[0-9a-f]{12}; plan it again"
    ):
        make(collect, planned)


def test_a_file_that_changes_between_listing_and_reading_is_named(folder: Callable, tmp_path: Path) -> None:
    place = folder({"a.txt": b"one", "b.txt": b"two"})
    source = find_source(place)
    revision = source.resolve(identity(place).revision, Watch())
    assert source.validation_shard == 1, "the files are listed now"
    folder({"a.txt": b"other"})
    with pytest.raises(StageError, match=r"a\.txt changed under the run: version .* became .*; plan it again"):
        source.write_shard(0, revision, tmp_path / "shard.parquet", Watch())


def test_a_bucket_without_credentials_is_one_line(tmp_path: Path) -> None:
    program = "from core.data.corpus.file_listing import FileListing; FileListing('files:s3://somewhere/*.txt').files"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", program], env={**environment, **own}, capture_output=True, text=True, check=False
    )
    assert process.stderr.splitlines()[-1] == (
        "core.stages.context.StageUnavailable: files:s3://somewhere/*.txt cannot be listed: "
        "Unable to locate credentials; check the URL and its access"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("files:data/*.txt", "a folder is written from the root"),
        ("files:/nowhere/*.txt", "matches 0 files; it takes two"),
        ("files:/nowhere/*.txt#on_bad_row=ignore", "on_bad_row 'ignore' is not allowed; write fail or skip"),
        ("files:/nowhere/*.txt#colum=x", "no option is called 'colum'; known are text, on_bad_row"),
        ("files:s3://KEY:SECRET@bucket/*.txt", "credentials do not belong into a recipe"),
    ],
)
def test_a_source_that_cannot_be_says_why(source: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        identity(source)
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_artifact_can_be_named_after_any_source() -> None:
    assert readable_name("fineweb-edu") == "fineweb-edu"
    named = readable_name("files:s3://bucket/*.jsonl#text=body")
    assert NAME.fullmatch(named)
    assert named != readable_name("files:s3://bucket/*.jsonl")


def test_planning_asks_for_a_listing_without_arrow_or_torch() -> None:
    program = "import sys; from core.data.corpus import file_listing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "torch", "huggingface_hub"} & set(loaded)


@pytest.mark.slow
def test_a_bucket_is_pinned_by_its_etags(make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_moto(tmp_path / "moto.log") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        client: Any = server.client()
        for name in ("a", "b"):
            client.put_object(Bucket="miniseries", Key=f"data/{name}.jsonl", Body=lines({"text": name}))
        planned = identity("files:s3://miniseries/data/*.jsonl")
        made = make(collect, planned)
        assert [texts(made.folder, number) for number in range(2)] == [["a"], ["b"]]
        etag = client.head_object(Bucket="miniseries", Key="data/a.jsonl")["ETag"].strip('"')
        assert made.metrics["read"][0]["version"] == etag
        client.put_object(Bucket="miniseries", Key="data/a.jsonl", Body=lines({"text": "c"}))
        with pytest.raises(StageError, match="changed: it was"):
            make(collect, planned)
