"""A Hugging Face Hub in this process: what huggingface_hub 2.4 asks to create, read, commit, tag and collect.

Strict where a mistake would hide: tokens are checked, a stale parent is refused with 412, an LFS object must arrive
with the sha256 that was announced before a commit may name it. It fails when it is told to: see `Fault`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITE_TOKEN, READ_TOKEN = "hf_writewritewrite", "hf_readreadreadread"
LFS_SUFFIXES = (".pt", ".safetensors", ".pkl")


@dataclass(frozen=True)
class Fault:
    """What happens to the next request whose `METHOD /path` matches, once.

    `answer` is a status, "refuse to talk" (the connection closes before anything is done) or "lose the answer" (all
    is done, then the connection closes).
    """

    request: str
    answer: int | str
    headers: dict[str, str] = field(default_factory=dict)


NO_TALK, LOST_ANSWER = "refuse to talk", "lose the answer"


@dataclass
class HubRepository:
    """One repository: its visibility, its tags and every revision of `main`, as path -> content."""

    name: str
    private: bool
    revisions: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.pt filter=lfs\n"}])
    titles: dict[str, str] = field(default_factory=dict)  # of commits that were made through the API
    tags: dict[str, str] = field(default_factory=dict)  # name -> commit

    @property
    def files(self) -> dict[str, bytes]:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def sha(self) -> str:
        """Commit id of the newest revision."""
        return self.commits[-1]

    @property
    def commits(self) -> list[str]:
        """Commit id of every revision."""
        return [hashlib.sha1(f"{self.name} {number}".encode()).hexdigest() for number in range(len(self.revisions))]


class HubServer(ThreadingHTTPServer):
    """Serves on a free port of this machine until closed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, HubRepository] = {}
        self.objects: dict[str, bytes] = {}  # LFS, by sha256
        self.requests: list[str] = []
        self.collections: dict[str, dict[str, Any]] = {}  # slug -> as the API shows it
        self.before_commit: Any = None  # called once before the next commit: somebody else's
        self.faults: list[Fault] = []
        self.watch: Callable[[str], None] | None = None  # told of every request that was done, before it is answered
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Endpoint."""
        return f"http://127.0.0.1:{self.server_port}"

    def next_fault(self, request: str) -> Fault | None:
        """Take the first fault that this request meets off the list."""
        with self.lock:
            for fault in self.faults:
                if re.search(fault.request, request):
                    self.faults.remove(fault)
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed hangs up in the middle of a sentence."""

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: no waiting for an acknowledgement between them

    def log_message(self, *arguments: Any) -> None:
        """Keep quiet."""

    def handle_one_request(self) -> None:
        """One request; a lost answer ends the connection."""
        self.fault: Fault | None = None
        super().handle_one_request()

    def do_GET(self) -> None:
        """Repository information and files."""
        if self.fails():
            return None
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/collections/"):
            return self.answer(200, self.server.collections[path.removeprefix("/api/collections/")])
        if path.startswith("/api/models/"):
            name, show = path.removeprefix("/api/models/"), self.information
            for end, other in (("/refs", self.references), ("/commits/main", self.history)):
                if name.endswith(end):
                    name, show = name.removesuffix(end), other
            return self.with_repository(name, show)
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        return self.with_repository(name, lambda repository: self.file(repository, rest.partition("/")[2]))

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """An LFS object, or the settings of a repository."""
        if self.fails():
            return None
        content = self.body()
        if self.path.endswith("/settings"):
            return self.settings(json.loads(content))
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            return self.answer(400, {"error": "the bytes are not those of the oid"})
        self.server.objects[oid] = content
        return self.answer(200, {})

    def do_POST(self) -> None:
        """Everything that changes something."""
        if self.fails():
            return None
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
        if path.startswith("/api/collections"):
            return self.collect(path.removeprefix("/api/collections").removesuffix("/items"), json.loads(body))
        if tagging := re.fullmatch("/api/models/(.+)/tag/(.+)", path):
            return self.with_repository(tagging[1], lambda repository: self.tag(repository, tagging[2], body))
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

    def references(self, repository: HubRepository) -> None:
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
            for name, commit in repository.tags.items()
        ]
        self.answer(200, {"branches": [], "converts": [], "tags": tags})

    def history(self, repository: HubRepository) -> None:
        commits = [
            {
                "id": commit,
                "title": repository.titles.get(commit, "by hand"),
                "message": "",
                "date": "2026-01-01T00:00:00.000Z",
                "authors": [{"user": "lab"}],
            }
            for commit in reversed(repository.commits)
        ]
        self.answer(200, commits)

    def tag(self, repository: HubRepository, revision: str, body: bytes) -> None:
        name = json.loads(body)["tag"]
        known = name in repository.tags
        repository.tags.setdefault(name, repository.sha if revision == "main" else revision)
        self.answer(409 if known else 200, {"error": "Tag reference exists already"} if known else {})

    def settings(self, wanted: dict[str, Any]) -> None:
        if self.token() != WRITE_TOKEN:
            return self.refuse()
        name = unquote(self.path).removeprefix("/api/models/").removesuffix("/settings")
        self.server.repositories[name].private = wanted["visibility"] == "private"
        return self.answer(200, {})

    def collect(self, slug: str, wanted: dict[str, Any]) -> None:
        """Create a collection when `slug` is empty, add an item to it otherwise."""
        if slug:
            collection = self.server.collections[slug.removeprefix("/")]
            known = any(entry["id"] == wanted["item"]["id"] for entry in collection["items"])
            if not known:
                position = len(collection["items"])
                collection["items"].append({"_id": f"item-{position}", "position": position, **wanted["item"]})
            return self.answer(409 if known else 200, collection)
        slug = f"{wanted['namespace']}/{wanted['title'].lower().replace(' ', '-')}-0123456789ab"
        known = slug in self.server.collections
        created = {"owner": {"name": wanted["namespace"]}, "items": [], "lastUpdated": "2026-01-01T00:00:00.000Z"}
        constant = {"position": 0, "theme": "green", "upvotes": 0}
        mine = {"slug": slug, "title": wanted["title"], "private": wanted["private"]}
        collection = self.server.collections.setdefault(slug, {**mine, **created, **constant})
        return self.answer(409 if known else 200, collection)

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
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, repository.sha):
                    return self.answer(412, {"error": "A commit has happened since"})
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        repository.revisions.append(files)
        repository.titles[repository.sha] = title
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

    def fails(self) -> bool:
        """Note the request, and do to it what its fault wants, if there is one; a lost answer is for later."""
        self.request_line = f"{self.command} {unquote(urlsplit(self.path).path)}"
        self.server.requests.append(self.request_line)
        self.fault = self.server.next_fault(self.request_line)
        if self.fault is None or self.fault.answer == LOST_ANSWER:
            return False
        if self.fault.answer == NO_TALK:
            self.hang_up()
        else:
            self.body()
            self.answer(int(self.fault.answer), {"error": "as scheduled"}, self.fault.headers)
        return True

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        if self.server.watch is not None and self.fault is None:
            self.server.watch(self.request_line)
        if self.fault is not None and self.fault.answer == LOST_ANSWER:
            return self.hang_up()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        return None


def blob_id(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
