"""What files a bundle consists of: the revision of the data, the same for a folder, a bucket and an archive of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from core.data.corpus.transfer import sha256_of


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file by its path in the bundle."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Content:
    """Every file, sorted by path."""

    files: tuple[BundleFile, ...]

    @classmethod
    def of(cls, folder: Path) -> Content:
        """Read every byte in `folder`."""
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return cls(
            tuple(
                BundleFile(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))
                for name, path in sorted(paths.items())
            )
        )

    @property
    def sha256(self) -> str:
        """Digest of the listing, a line `<sha256> <bytes> <path>` for each file: what pins the bundle."""
        lines = "".join(f"{file.sha256} {file.bytes} {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def listing(self) -> Mapping[str, object]:
        """As JSON values."""
        return {"sha256": self.sha256, "files": [asdict(file) for file in self.files]}
