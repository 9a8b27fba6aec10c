"""A published repository as any reader finds it: in a folder, below a bucket's prefix, or on the Hub.

Only read, and only what is asked for: on the Hub, the sha256 of a large file is the one under which its storage keeps
it, so auditing gigabytes of weights downloads none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from artifacts.location import SCHEME, store_location
from artifacts.transfer import sha256_of
from core.stages.context import StageError, StageUnavailable

if TYPE_CHECKING:
    from artifacts.bucket import BucketStorage


class PublishedFiles(Protocol):
    """The files of one repository. Every method raises `StageError` or `StoreError` in one line."""

    name: str  # as its reader calls it
    revision: str | None  # the commit that is read, where there are commits

    def paths(self) -> list[str]:
        """Every file there is, sorted."""

    def sha256(self, path: str) -> str:
        """sha256 hex of one of them."""

    def local(self, path: str) -> Path:
        """A small one as a file on this machine, under its own name."""


class FolderFiles:
    """A repository in a local folder, such as `hf download --local-dir` leaves it."""

    revision: str | None = None

    def __init__(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise StageError(f"{folder}: no such folder; name one, s3://bucket/prefix or namespace/name on the Hub")
        self.name = name
        self._folder = folder

    def paths(self) -> list[str]:
        """Walk the tree."""
        files = (path for path in self._folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)

    def sha256(self, path: str) -> str:
        """Read all of it."""
        return sha256_of(self._folder / path)

    def local(self, path: str) -> Path:
        """The file itself."""
        return self._folder / path


class BucketFiles:
    """A repository below a prefix; its files pass through `scratch` one by one."""

    revision: str | None = None

    def __init__(self, name: str, bucket: BucketStorage, scratch: Path) -> None:
        self.name = name
        self._bucket = bucket
        self._scratch = scratch
        self._sizes: Mapping[str, int] = {listed.path: listed.bytes for listed in bucket.listing("")}

    def paths(self) -> list[str]:
        """From one listing."""
        return sorted(self._sizes)

    def sha256(self, path: str) -> str:
        """Download it, hash it, let go of it."""
        target = self.local(path)
        try:
            return sha256_of(target)
        finally:
            target.unlink()

    def local(self, path: str) -> Path:
        """A copy in `scratch`."""
        target = self._scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self._bucket.download(path, target, self._sizes[path]):
            raise StageUnavailable(f"{self.name}/{path}: vanished while it was read; run again")
        return target


def open_published(name: str, scratch: Path, say: Callable[[str], None] = lambda line: None) -> PublishedFiles:
    """The repository called `name`: a folder, `file:///folder`, `s3://bucket/prefix`, or `namespace/name` on the Hub.

    A folder of that name goes first. `scratch` is an empty folder for what is downloaded; `say` is told of every wait.
    """
    if not SCHEME.match(name):
        return FolderFiles(name, Path(name)) if is_folder_name(name) else _on_hub(name, scratch, say)
    location = store_location(name)
    if location.folder is not None:
        return FolderFiles(name, location.folder)
    from artifacts.bucket import BucketStorage  # here, because importing s3fs takes a second

    return BucketFiles(name, BucketStorage(location.bucket, location.prefix, location.url), scratch)


def _on_hub(name: str, scratch: Path, say: Callable[[str], None]) -> PublishedFiles:
    from huggingface_hub import HfApi  # here, because the client takes a second that folders need not pay

    from core.publishing.hub_files import HubFiles
    from core.publishing.patience import Patience

    return HubFiles(name, scratch, HfApi(), say, Patience())


def is_folder_name(name: str) -> bool:
    """Whether `name` is a folder here, or cannot be of the form `namespace/name`."""
    namespace, _, rest = name.partition("/")
    return Path(name).is_dir() or namespace in ("", ".", "..", "~") or not rest or "/" in rest
