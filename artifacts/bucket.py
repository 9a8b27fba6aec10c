"""A store in an S3 bucket, through s3fs, with the care that S3 servers and this client have been seen to need.

- Conditional writes are single small PutObject requests: many servers ignore conditions on anything else.
- A refusal (412, or 409 while writers race) is judged by reading the object back: it may be our own write, whose
  answer was lost and which was sent twice.
- Ceph takes the version of If-Match without quotes only, others with them: both are tried, the one that works is kept.
- Every request has a time limit, and the `Expect` header is not sent: waiting for its answer knows no limit.
- Downloads are not verified by any client; `artifacts.transfer` hashes what arrived.

Endpoint, region and credentials come from the environment or profile as for every AWS client. With an endpoint of
one's own the bucket is addressed in the path; MINISERIES_S3_ADDRESSING (path, virtual) says otherwise.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import s3fs
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header
from fsspec.asyn import sync

from artifacts.bucket_errors import ABSENT, LOST_RACE, error_code, is_transient, unavailable
from artifacts.errors import StoreUnavailable
from artifacts.storage import Listed, Versioned
from artifacts.transfer import CONCURRENT_FILES

SLOWEST_BYTES_PER_SECOND = 250_000  # of one file; bounds the time a transfer may take
PART_BYTES = 16 * 2**20
PARTS_AT_ONCE = 4
DELETE_AT_ONCE = 1000  # S3's limit

FAILURES = (BotoCoreError, ClientError, aiohttp.ClientError, OSError)
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EIO})

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask again."""

    connect_seconds: float = 5.0
    read_seconds: float = 15.0  # without a byte from the server
    request_seconds: float = 30.0  # one small request, all in all
    pauses: tuple[float, ...] = (0.2, 0.5, 1.0)  # seconds before the second, third ... try


class BucketStorage:
    """`Storage` below `prefix` in `bucket`."""

    def __init__(self, bucket: str, prefix: str, url: str, patience: Patience | None = None) -> None:
        self.url = url
        self._patience = patience or Patience()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._quoted = True  # whether this server takes If-Match with quotes
        self._client: s3fs.S3FileSystem | None = None
        self._client_process = 0

    def local(self, path: str) -> Path | None:
        """Objects have no local path."""
        return None

    def read(self, path: str) -> Versioned | None:
        """Return the object; its version is its ETag."""
        return self._patiently(path, lambda: self._read_once(path))

    def create(self, path: str, content: bytes) -> str | None:
        """PutObject with If-None-Match: *."""
        return self._put_if(path, content, None)

    def replace(self, path: str, content: bytes, version: str) -> str | None:
        """PutObject with If-Match."""
        return self._put_if(path, content, version)

    def delete(self, paths: Iterable[str]) -> None:
        """DeleteObjects, a thousand at a time."""
        keys = iter(paths)
        while some := list(islice(keys, DELETE_AT_ONCE)):
            objects = {"Objects": [{"Key": self._prefix + path} for path in some], "Quiet": True}
            answer = self._patiently(some[0], partial(self._request, "delete_objects", Delete=objects))
            for failure in answer.get("Errors", []):
                raise StoreUnavailable(
                    f"{self.url}: {failure.get('Key')} was not deleted ({failure.get('Code')}); "
                    "give these credentials DeleteObject on the bucket"
                )

    def listing(self, prefix: str) -> list[Listed]:
        """ListObjectsV2 without delimiter, page by page; the ETag is the stamp."""
        found: list[Listed] = []
        page: dict[str, Any] = {"Prefix": self._prefix + (f"{prefix}/" if prefix else "")}
        while True:
            answer = self._patiently(prefix, partial(self._request, "list_objects_v2", **page))
            for entry in answer.get("Contents", []):
                path = entry["Key"].removeprefix(self._prefix)
                found.append(Listed(path, entry["Size"], entry["ETag"].strip('"')))
            if not answer.get("IsTruncated"):
                return sorted(found, key=lambda listed: listed.path)
            page = {**page, "ContinuationToken": answer["NextContinuationToken"]}

    def upload(self, source: Path, path: str) -> None:
        """Multipart when large; S3 makes the object visible when all of it is there."""

        def put() -> None:
            self._wait(
                self._connected()._put_file,
                str(source),
                self._key(path),
                chunksize=PART_BYTES * max(1, source.stat().st_size // (PART_BYTES * 5000)),
                max_concurrency=PARTS_AT_ONCE,
                seconds=self._patience.request_seconds + source.stat().st_size / SLOWEST_BYTES_PER_SECOND,
            )

        self._patiently(path, put)

    def download(self, path: str, target: Path, size: int) -> bool:
        """GetObject, in ranges when large."""

        def get() -> bool:
            try:
                self._wait(
                    self._connected()._get_file,
                    self._key(path),
                    str(target),
                    chunksize=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                    seconds=self._patience.request_seconds + size / SLOWEST_BYTES_PER_SECOND,
                )
            except OSError as error:
                if error_code(error) in ABSENT:
                    return False
                raise
            return True

        return self._patiently(path, get)

    def _put_if(self, path: str, content: bytes, version: str | None) -> str | None:
        """Write if the object still has `version` (None: does not exist); None when somebody else's write stands."""
        failure: BaseException | None = None
        quoted = self._quoted
        for pause in (*self._patience.pauses, None):
            try:
                written = self._put_once(path, content, version, quoted)
                self._quoted = quoted if version is not None else self._quoted
                return written
            except FAILURES as error:
                failure = error
            code = error_code(failure)
            if code not in LOST_RACE | ABSENT and not is_transient(failure):
                break
            current = self.read(path)
            if current is not None and current.content == content:
                return current.version
            if (current.version if current is not None else None) != version:
                return None
            if code in LOST_RACE and version is not None:
                quoted = not quoted  # refused although the version is the one we named
            if pause is not None:
                time.sleep(pause)
        assert failure is not None
        raise unavailable(failure, f"{self.url}/{path}") from failure

    def _put_once(self, path: str, content: bytes, version: str | None, quoted: bool) -> str:
        named = f'"{version}"' if quoted else version
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": named}
        answer = self._request("put_object", Key=self._prefix + path, Body=content, **condition)
        return str(answer["ETag"]).strip('"')

    def _read_once(self, path: str) -> Versioned | None:
        client = self._connected()

        async def get() -> Versioned:
            connection = await client.set_session()
            answer = await connection.get_object(Bucket=self._bucket, Key=self._prefix + path)
            async with answer["Body"] as body:
                return Versioned(await body.read(), answer["ETag"].strip('"'))

        try:
            return self._wait(get, seconds=self._patience.request_seconds)
        except ClientError as error:
            if error_code(error) in ABSENT:
                return None
            raise

    def _request(self, method: str, **parameters: object) -> dict[str, Any]:
        """One S3 request, tried once."""
        client = self._connected()

        async def call() -> dict[str, Any]:
            connection = await client.set_session()
            answer: dict[str, Any] = await getattr(connection, method)(Bucket=self._bucket, **parameters)
            return answer

        return self._wait(call, seconds=self._patience.request_seconds)

    def _patiently(self, path: str, act: Callable[[], ResultT]) -> ResultT:
        """`act`, tried again with growing pauses while the failure may pass; then one line for the user."""
        failure: BaseException | None = None
        for pause in (*self._patience.pauses, None):
            try:
                return act()
            except FAILURES as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS and not error_code(error):
                    raise  # of the local disk: the caller knows which
                failure = error
            if pause is None or not is_transient(failure):
                break
            time.sleep(pause)
        assert failure is not None
        raise unavailable(failure, f"{self.url}/{path}".rstrip("/")) from failure

    def _wait(
        self, act: Callable[..., Coroutine[Any, Any, ResultT]], *arguments: object, seconds: float, **named: object
    ) -> ResultT:
        """Run a coroutine on s3fs's event loop for at most `seconds`."""
        result: ResultT = sync(self._connected().loop, act, *arguments, timeout=seconds, **named)
        return result

    def _connected(self) -> s3fs.S3FileSystem:
        """The client that all stores of this process share; a forked child needs one of its own."""
        if self._client is None or self._client_process != os.getpid():
            settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
            self._client, self._client_process = _client(os.getpid(), self._patience, settings), os.getpid()
        return self._client

    def _key(self, path: str) -> str:
        return f"{self._bucket}/{self._prefix}{path}"


@lru_cache(maxsize=8)
def _client(process: int, patience: Patience, settings: tuple[tuple[str, str], ...]) -> s3fs.S3FileSystem:
    """A client takes .3 s to make, so it is made once for each process and set of AWS settings."""
    session = AioSession()
    session.unregister("before-call.s3", add_expect_header)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    client = s3fs.S3FileSystem(
        session=session,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": patience.connect_seconds,
            "read_timeout": patience.read_seconds,
            "retries": {"mode": "standard", "total_max_attempts": 1},  # tried again by us, who can tell whose write won
            "max_pool_connections": CONCURRENT_FILES * PARTS_AT_ONCE,
            "request_checksum_calculation": "when_required",  # SigV4 and our sha256 cover it; many servers lack it
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": os.environ.get("MINISERIES_S3_ADDRESSING") or ("path" if endpoint else "auto")},
        },
    )
    client.retries = 3  # of the parts of a large file
    return client
