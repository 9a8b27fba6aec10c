"""Programs that copy files and promise nothing: what the store is compared with."""

from __future__ import annotations

import importlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import s3fs

from artifacts.transfer import CONCURRENT_FILES
from benchmarks.support.moto_server import BUCKET


class Peer(Protocol):
    """A program that copies, without our promises."""

    name: str

    def put(self, source: Path, name: str) -> None:
        """Copy the files of a folder to `name`."""

    def get(self, name: str, target: Path) -> None:
        """Copy them back into the new folder `target`."""

    def read(self, name: str) -> bytes:
        """Read one small object."""

    def write(self, name: str, content: bytes) -> None:
        """Write one small object, unconditionally."""


class PlainCopy:
    """The standard library, without waiting for the disk."""

    name = "shutil"

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: Path, name: str) -> None:
        shutil.copytree(source, self._root / name)

    def get(self, name: str, target: Path) -> None:
        shutil.copytree(self._root / name, target)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / name).write_bytes(content)


class PlainS3fs:
    """s3fs as its documentation uses it; it transfers the files of a folder concurrently by itself."""

    name = "s3fs"

    def __init__(self) -> None:
        self._client = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)

    def put(self, source: Path, name: str) -> None:
        self._client.put(f"{source}/", f"{BUCKET}/peer/{name}/", recursive=True)

    def get(self, name: str, target: Path) -> None:
        self._client.get(f"{BUCKET}/peer/{name}/", f"{target}/", recursive=True)

    def read(self, name: str) -> bytes:
        return bytes(self._client.cat_file(f"{BUCKET}/peer/{name}"))

    def write(self, name: str, content: bytes) -> None:
        self._client.pipe_file(f"{BUCKET}/peer/{name}", content)


class PlainObstore:
    """obstore, if it is installed: one file a call, as many at once as the store moves."""

    name = "obstore"

    def __init__(self) -> None:
        self._module = importlib.import_module("obstore")
        stores = importlib.import_module("obstore.store")
        self._store = stores.S3Store(
            BUCKET,
            prefix="peer-obstore",
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            region=os.environ["AWS_DEFAULT_REGION"],
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def put(self, source: Path, name: str) -> None:
        with ThreadPoolExecutor(CONCURRENT_FILES) as pool:
            list(pool.map(lambda path: self._module.put(self._store, f"{name}/{path.name}", path), source.iterdir()))

    def get(self, name: str, target: Path) -> None:
        def fetch(path: str) -> None:
            with (target / Path(path).name).open("wb") as file:
                for chunk in self._module.get(self._store, path).stream():
                    file.write(chunk)

        target.mkdir()
        listed = [entry["path"] for page in self._module.list(self._store, prefix=name) for entry in page]
        with ThreadPoolExecutor(CONCURRENT_FILES) as pool:
            list(pool.map(fetch, listed))

    def read(self, name: str) -> bytes:
        return bytes(self._module.get(self._store, name).bytes())

    def write(self, name: str, content: bytes) -> None:
        self._module.put(self._store, name, content)
