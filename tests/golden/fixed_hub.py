"""A Hub of one dataset on this machine, for the golden corpus that is downloaded."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
from fixed_text import some_documents

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = 2


class Answer(BaseHTTPRequestHandler):
    """HEAD and GET of `/datasets/OWNER/NAME/resolve/REVISION/shard_NNNNN.parquet`."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def _answer(self) -> bytes:
        body = shard(int(self.path.removesuffix(".parquet").rpartition("_")[2]))
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the output quiet."""


def shard(number: int) -> bytes:
    """A parquet file as a dataset has it: more than one column and row group."""
    texts, sink = some_documents(40, seed=100 + number), io.BytesIO()
    pq.write_table(pa.table({"text": texts, "url": texts[::-1]}), sink, row_group_size=16)
    return sink.getvalue()


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve; the value is the environment that makes a process use this Hub and no other."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
