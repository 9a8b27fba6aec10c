"""Shards from the Hub: fetched by the real client from a real server that answers as the Hub does."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.data.corpus import collect
from core.data.corpus.artifact import LONGEST_DOCUMENT, Corpus
from core.stages.identity import CorpusIdentity

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "/datasets/karpathy/climbmix-400b-shuffle"


class Hub(ThreadingHTTPServer):
    """`files`: name -> bytes of the one dataset; `status` and `code`: how everything is answered instead, if set.

    `cut`: bytes missing at the end of every body.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.status, self.code = 200, ""
        self.cut = 0
        self.asked: list[tuple[str, str]] = []  # method and revision

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """HEAD and GET of /datasets/OWNER/NAME/resolve/REVISION/FILE."""

    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        _, _, owner, name, _, revision, file = self.path.split("/")
        assert f"/datasets/{owner}/{name}" == REPOSITORY
        self.server.asked.append((self.command, revision))
        body = self.server.files.get(file, b"")
        status, code = self.server.status, self.server.code
        if status == 200 and file not in self.server.files:
            status, code = 404, "EntryNotFound"
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        if status == 200:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if with_body and status == 200:
            self.wfile.write(body[: len(body) - self.server.cut])

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(hub: Hub, make_elsewhere: Callable, tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Collect shards of climbmix from the server, in a process of its own: the client reads the environment once."""

    def run(first: int = 0, end: int = 1, revision: str = COMMIT, **environment: str) -> tuple[Path, Any]:
        identity = CorpusIdentity(source="climbmix", revision=revision, first_shard=first, end_shard=end)
        settings = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HOME": str(tmp_path / "hf"),
            "MINISERIES_CACHE": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return make_elsewhere(collect, identity, {**settings, **environment})

    return run


def parquet(**columns: list[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=2)
    return sink.getvalue()


def one_line(process: Any) -> str:
    lines = [line for line in process.stderr.splitlines() if line]
    assert process.returncode == 1, process.stderr
    return str(lines[-1])


def test_shards_are_fetched_at_the_pinned_revision_and_kept_unchanged(hub: Hub, fetch: Callable) -> None:
    hub.files = {
        "shard_06541.parquet": parquet(text=["one", "two", "three"]),
        "shard_06542.parquet": parquet(text=["held out"], url=["ignored"]),
    }
    folder, process = fetch(6541, 6543)
    assert process.returncode == 0, process.stderr
    for name, contents in hub.files.items():
        assert (folder / name).read_bytes() == contents
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.json", *hub.files]
    corpus = Corpus.load(folder)
    assert (corpus.revision, corpus.validation_shard) == (COMMIT, 6542)
    assert [(shard.documents, shard.characters) for shard in corpus.shards] == [(3, 11), (1, 8)]
    assert {revision for _, revision in hub.asked} == {COMMIT}


def test_a_branch_is_resolved_once_and_every_shard_read_at_its_commit(hub: Hub, fetch: Callable) -> None:
    hub.files = {f"shard_0654{number}.parquet": parquet(text=["one"]) for number in range(3)}
    _, process = fetch(6540, 6543, revision="main")
    assert process.returncode == 0, process.stderr
    assert hub.asked[0] == ("HEAD", "main")
    assert sorted(hub.asked[1:]) == [("GET", COMMIT)] * 3 + [("HEAD", COMMIT)] * 3
    assert f"revision 'main' is not pinned; what is read is commit {COMMIT}" in process.stdout


def test_a_document_longer_than_any_corpus_has_is_named(hub: Hub, fetch: Callable) -> None:
    hub.files = {"shard_00000.parquet": parquet(text=["one", "two", "x" * (LONGEST_DOCUMENT + 1)])}
    _, process = fetch()
    assert "shard_00000.parquet: row 2 has 50,000,001 bytes, 50,000,000 at most; split or drop" in one_line(process)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (parquet(body=["one"]), "shard_00000.parquet has no column 'text'; its columns are body"),
        (parquet(text=[1, 2]), "shard_00000.parquet: column 'text' holds int64, not string"),
        (parquet(text=["one", "two", None]), "shard_00000.parquet: row 2 has no text"),
        (parquet(text=["one", "two"])[:-20], "shard_00000.parquet is not a readable parquet file"),
        (b"<html>captive portal</html>", "shard_00000.parquet is not a readable parquet file"),
    ],
)
def test_a_file_that_is_no_shard_is_named(hub: Hub, fetch: Callable, contents: bytes, message: str) -> None:
    hub.files = {"shard_00000.parquet": contents}
    folder, process = fetch()
    assert message in one_line(process)
    assert not (folder / "corpus.json").exists()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "the Hub knows no such dataset, or HF_TOKEN may not read it"),
        (401, "", "Client error '401 Unauthorized'"),
        (403, "GatedRepo", "the dataset is gated; ask for access and set HF_TOKEN"),
        (404, "RevisionNotFound", "the dataset has no such revision"),
        (404, "EntryNotFound", "the dataset has no such file; its last shard is 6542"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, fetch: Callable, status: int, code: str, message: str) -> None:
    hub.status, hub.code = status, code
    _, process = fetch()
    assert f"karpathy/climbmix-400b-shuffle has given no shard_00000.parquet at {COMMIT}: {message}" in one_line(
        process
    )


def test_a_hub_without_an_answer_says_why_and_what_to_check(hub: Hub, fetch: Callable) -> None:
    hub.status = 501
    _, process = fetch()
    assert "no answer (Server error '501 Not Implemented'" in one_line(process)
    _, process = fetch(HF_HUB_OFFLINE="1")
    assert "offline mode is enabled" in one_line(process)
    assert "check the network, HF_ENDPOINT and HF_HUB_OFFLINE" in one_line(process)


def test_a_download_that_ends_early_is_refused(hub: Hub, fetch: Callable) -> None:
    hub.files = {"shard_00000.parquet": parquet(text=["one"] * 1000)}
    hub.cut = 100
    folder, process = fetch()
    assert f"has given no shard_00000.parquet at {COMMIT}: " in one_line(process)
    assert list(folder.iterdir()) == []
