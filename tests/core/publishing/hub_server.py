"""A Hugging Face Hub in this process: what huggingface_hub 2.4 asks to create, read and commit, and no more.

Strict where a mistake would hide: tokens are checked, a stale parent is refused with 412, an LFS object must arrive
with the sha256 that was announced before a commit may name it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITE_TOKEN, READ_TOKEN = "hf_writewritewrite", "hf_readreadreadread"
LFS_SUFFIXES = (".pt", ".safetensors", ".pkl")


@dataclass
class HubRepository:
    """One repository: its visibility and every revision of `main`, as path -> content."""

    name: str
    private: bool
    revisions: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.pt filter=lfs\n"}])

    @property
    def files(self) -> dict[str, bytes]:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def sha(self) -> str:
        """Commit id of the newest revision."""
        return hashlib.sha1(str(len(self.revisions)).encode()).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Serves on a free port of this machine until closed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, HubRepository] = {}
        self.objects: dict[str, bytes] = {}  # LFS, by sha256
        self.requests: list[str] = []
        self.before_commit: Any = None  # called once before the next commit: somebody else's
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Repository information and files."""
        self.note()
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            return self.with_repository(path.removeprefix("/api/models/"), self.information)
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        return self.with_repository(name, lambda repository: self.file(repository, rest.partition("/")[2]))

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """An LFS object."""
        self.note()
        content = self.body()
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            return self.answer(400, {"error": "the bytes are not those of the oid"})
        self.server.objects[oid] = content
        return self.answer(200, {})

    def do_POST(self) -> None:
        """Everything that changes something."""
        self.note()
        body, path = self.body(), unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path.startswith("/lfs/verify"):
            return self.answer(200, {})
        if self.token() != WRITE_TOKEN:
            return self.refuse()
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.lfs_batch(json.loads(body))
        name, _, action = path.removeprefix("/api/models/").removesuffix("/main").rpartition("/")
        act = {"preupload": self.preupload, "commit": self.commit}[action]
        return self.with_repository(name, lambda repository: act(repository, body))

    def with_repository(self, name: str, act: Any) -> None:
        if self.token() not in (WRITE_TOKEN, READ_TOKEN):
            return self.refuse()
        if name not in self.server.repositories:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        act(self.server.repositories[name])
        return None

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        known = name in self.server.repositories
        self.server.repositories.setdefault(name, HubRepository(name, wanted["visibility"] == "private"))
        self.answer(409 if known else 200, {"url": f"{self.server.url}/{name}"})

    def information(self, repository: HubRepository) -> None:
        siblings = []
        for path, content in repository.files.items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob_id(content)}
            if path.endswith(LFS_SUFFIXES):
                oid = hashlib.sha256(content).hexdigest()
                sibling |= {"blobId": "of the pointer", "lfs": {"sha256": oid, "size": len(content), "pointerSize": 1}}
            siblings.append(sibling)
        self.answer(
            200, {"id": repository.name, "sha": repository.sha, "private": repository.private, "siblings": siblings}
        )

    def preupload(self, repository: HubRepository, body: bytes) -> None:
        files = []
        for file in json.loads(body)["files"]:
            path, current = file["path"], repository.files.get(file["path"])
            large = path.endswith(LFS_SUFFIXES)
            answer: dict[str, Any] = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if current is not None:
                answer["oid"] = hashlib.sha256(current).hexdigest() if large else blob_id(current)
            files.append(answer)
        self.answer(200, {"files": files})

    def lfs_batch(self, wanted: dict[str, Any]) -> None:
        objects = []
        for entry in wanted["objects"]:
            oid = entry["oid"]
            upload = {
                "upload": {"href": f"{self.server.url}/lfs/{oid}"},
                "verify": {"href": f"{self.server.url}/lfs/verify"},
            }
            objects.append({**entry, **({} if oid in self.server.objects else {"actions": upload})})
        self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, repository: HubRepository, body: bytes) -> None:
        if self.server.before_commit is not None:
            self.server.before_commit(repository)
            self.server.before_commit = None
        files = dict(repository.files)
        for line in body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header" and value.get("parentCommit") not in (None, repository.sha):
                return self.answer(412, {"error": "A commit has happened since"})
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        repository.revisions.append(files)
        return self.answer(
            200,
            {"commitUrl": f"{self.server.url}/{repository.name}/commit/{repository.sha}", "commitOid": repository.sha},
        )

    def file(self, repository: HubRepository, path: str) -> None:
        if path not in repository.files:
            return self.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.sha})
        content = repository.files[path]
        headers = {"X-Repo-Commit": repository.sha, "ETag": f'"{blob_id(content)}"'}
        return self.send(200, content, {**headers, "Content-Type": "application/octet-stream"})

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def refuse(self) -> None:
        known = self.token() == READ_TOKEN
        message = "You need write access" if known else "Invalid credentials in Authorization header"
        self.answer(403 if known else 401, {"error": message}, {"X-Error-Message": message})

    def note(self) -> None:
        self.server.requests.append(f"{self.command} {urlsplit(self.path).path}")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def blob_id(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
