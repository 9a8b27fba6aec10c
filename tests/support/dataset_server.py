"""A Hub of datasets in this process, as huggingface_hub reads them, that fails the way networks do when told to.

A server counts what it is asked for, so that a test can say what was fetched and from which byte.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PATH = re.compile(r"/datasets/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How one GET is answered: with a `status` that is no success, or a body that ends after `cut` bytes.

    A cut body drops the connection in the middle, or, if `truncated`, claims to be whole. A damaged one has the right
    length and one wrong byte.
    """

    status: int = 200
    retry_after: int | None = None
    cut: int | None = None
    truncated: bool = False
    damaged: bool = False


@dataclass(frozen=True)
class Get:
    """One GET of a file, from byte `offset` on."""

    file: str
    offset: int


@dataclass
class Counter:
    """What was asked, in order."""

    gets: list[Get] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def of(self, file: str) -> list[int]:
        """The offsets at which `file` was read."""
        return [get.offset for get in self.gets if get.file == file]


class DatasetServer(ThreadingHTTPServer):
    """`files`: path -> bytes of one dataset; `faults`: path -> what happens to its next GETs, first one first.

    `becomes`: path -> other bytes, which replace the file between a HEAD and the GET that follows it.
    A file in `held` stops after its first 1000 bytes until `release` is set.
    """

    daemon_threads = True

    def __init__(self, repository: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repository = repository
        self.commit = COMMIT
        self.files: dict[str, bytes] = {}
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.becomes: dict[str, bytes] = {}
        self.held: set[str] = set()
        self.holding, self.release = threading.Event(), threading.Event()
        self.counter = Counter()

    def environment(self) -> dict[str, str]:
        """What makes a process use this Hub and no other."""
        return {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "hf_readreadreadread",
            "NO_PROXY": "127.0.0.1,localhost",
        }


class Answer(BaseHTTPRequestHandler):
    """HEAD and GET of `/datasets/OWNER/NAME/resolve/REVISION/FILE`, with ranges."""

    server: DatasetServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        self._file()

    def _file(self) -> None:
        server, found = self.server, PATH.fullmatch(self.path)
        server.counter.tokens.add(self.headers.get("Authorization", ""))
        if found is None or found["repository"] != server.repository:
            return self._head(404, 0, {"X-Error-Code": "RepoNotFound"})
        file = found["file"]
        if file not in server.files:
            return self._head(404, 0, {"X-Error-Code": "EntryNotFound"})
        if self.command == "GET" and file in server.becomes:
            server.files[file] = server.becomes.pop(file)
        body = server.files[file]
        if self.command == "HEAD":
            return self._head(200, len(body), {"X-Linked-Size": str(len(body))}, body)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        offset = int(asked[1]) if asked else 0
        server.counter.gets.append(Get(file, offset))
        fault = server.faults[file].pop(0) if server.faults[file] else Fault()
        if fault.status != 200:
            after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return self._head(fault.status, 0, after)
        return self._body(file, body, offset, fault)

    def _body(self, file: str, body: bytes, offset: int, fault: Fault) -> None:
        sent = body[offset:] if fault.cut is None else body[offset : offset + fault.cut]
        if fault.damaged:
            sent = bytes([sent[0] ^ 1]) + sent[1:]
        claimed = len(sent) if fault.truncated else len(body) - offset
        self._head(206 if offset else 200, claimed, {}, body)
        if file in self.server.held:
            self.wfile.write(sent[:1000])
            self.wfile.flush()
            self.server.holding.set()
            self.server.release.wait()
            sent = sent[1000:]
        try:
            self.wfile.write(sent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if len(sent) < claimed:
            self.close_connection = True

    def _head(self, status: int, length: int, headers: dict[str, str], body: bytes | None = None) -> None:
        self.send_response(status)
        own = {"X-Repo-Commit": self.server.commit, "Content-Length": str(length)}
        if body is not None:
            own["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        for name, value in {**own, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test output quiet."""


@contextmanager
def serving_dataset(repository: str) -> Iterator[DatasetServer]:
    """A server of one dataset while the block runs."""
    server = DatasetServer(repository)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
