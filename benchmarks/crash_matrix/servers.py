"""The servers that cases talk to: Prefect's with a database of its own, and an S3 server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import psutil
from botocore.config import Config

START_SECONDS = 240.0  # of several that start at once on a busy machine
STOP_SECONDS = 30.0
DATABASE = "prefect.db"
BUCKET = "crash"


class ServerFailed(Exception):
    """A server ended, or did not answer in time."""


@dataclass(frozen=True, kw_only=True)
class PrefectServer:
    """A running Prefect server, or how to start it again."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path

    @property
    def api(self) -> str:
        """PREFECT_API_URL of its clients."""
        return f"http://127.0.0.1:{self.port}/api"

    def restarted(self) -> PrefectServer:
        """The same server after its process was killed: same port, same database."""
        self.process.wait()
        return start_prefect(self.home, self.port)

    def stop(self) -> None:
        """End it so that its database is whole."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):  # killed then; who opens the database replays SQLite's journal
            self.process.wait(STOP_SECONDS)
        self.end()

    def end(self) -> None:
        """Kill it."""
        end_family(self.process)


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running S3 server (moto): its objects are in its memory."""

    process: subprocess.Popen[bytes]
    endpoint: str

    def environment(self) -> Mapping[str, str]:
        """What makes any AWS client talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKCRASHMATRIX",
            "AWS_SECRET_ACCESS_KEY": "crash-matrix",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Copy a store in a folder into the bucket."""
        client = self._client()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not name.parts[0].startswith("."):
                client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name.as_posix()}", Body=path.read_bytes())

    def get_folder(self, prefix: str, folder: Path) -> None:
        """Copy a store in the bucket into a folder."""
        client, page = self._client(), dict[str, Any]()
        while True:
            answer = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/", **page)
            for entry in answer.get("Contents", []):
                path = folder / entry["Key"].removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
            if not answer.get("IsTruncated"):
                return
            page = {"ContinuationToken": answer["NextContinuationToken"]}

    def make_bucket(self) -> None:
        """Once, before anything is put into it."""
        self._client().create_bucket(Bucket=BUCKET)

    def _client(self) -> Any:
        """A client that does not read this process's environment."""
        environment = self.environment()
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
            config=Config(s3={"addressing_style": "path"}),
        )


def start_prefect(home: Path, port: int | None = None) -> PrefectServer:
    """Start a Prefect server and wait until it answers."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MINISERIES_"))},
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    server = PrefectServer(process=process, port=port, home=home)
    _await_answer(process, lambda: _answers(f"{server.api}/health"))
    return server


def copy_database(server_home: Path, home: Path) -> None:
    """Give another server the database of one that has ended: to migrate an empty one takes seconds."""
    home.mkdir(parents=True, exist_ok=True)
    for path in server_home.glob(f"{DATABASE}*"):
        shutil.copy(path, home)


@contextmanager
def s3_server(log: Path) -> Iterator[S3Server]:
    """An S3 server with an empty bucket."""
    port = free_port()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        server = S3Server(process=process, endpoint=f"http://127.0.0.1:{port}")
        _await_answer(process, lambda: _answers(server.endpoint))
        server.make_bucket()
        yield server
    finally:
        end_family(process)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything it started."""
    end_family_of(process.pid)
    process.kill()
    process.wait()


def end_family_of(leader: int) -> None:
    """Kill everything that a process has started."""
    try:
        family = psutil.Process(leader).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def _await_answer(process: subprocess.Popen[bytes], answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers():
            return
        time.sleep(0.1)
    end_family(process)
    raise ServerFailed(f"a server did not start: {process.args!r}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
