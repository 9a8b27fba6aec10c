"""The manifest: what an artifact is, which files it has, how it was made. An artifact exists when its manifest does.

Reading is strict: unknown or missing fields, a path that leaves the artifact's folder, or a seal (sha256 of
everything else) that does not match make it damaged, so nothing is ever used on the word of a half-readable one.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from artifacts.encoding import canonical, digest
from artifacts.errors import StoreError

FORMAT = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)

RecordT = TypeVar("RecordT", bound=BaseModel)


def safe_path(path: str) -> str:
    """Return `path` if it names a file inside a folder on every system: relative, no `..`, no control characters."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\x00-\x1f\x7f\\]", path) or len(path) > 512:
        raise ValueError(f"{path!r} is not a relative path of plain names")
    return path


class FileRecord(BaseModel):
    """One file of an artifact or of a checkpoint."""

    model_config = STRICT

    path: Annotated[str, AfterValidator(safe_path)]  # relative to the attempt's folder, with `/`
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Manifest(BaseModel):
    """A committed artifact."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    kind: str
    name: str
    key: Sha256
    stage_version: int
    identity: Any  # JSON that the key hashes
    inputs: dict[str, str]  # role -> key
    attempt: Annotated[str, AfterValidator(safe_path)]  # the files are under files/<attempt>/
    token: int  # fencing token of the lease that committed
    files: tuple[FileRecord, ...]  # sorted by path
    metrics: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return self.model_dump(mode="json")

    def encode(self) -> bytes:
        """The bytes of `manifest.json`: readable, keys sorted, sealed."""
        return seal(self.to_json())

    @classmethod
    def decode(cls, content: bytes, where: str) -> Manifest:
        """Read what `encode` wrote; `StoreError` with one line if it is anything else."""
        return read_sealed(cls, content, where)


def seal(values: dict[str, Any]) -> bytes:
    """Encode JSON values with `seal`: the sha256 of their canonical form."""
    canonical(values, "manifest")
    return (
        json.dumps({**values, "seal": digest(values)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()


def read_sealed(model: type[RecordT], content: bytes, where: str) -> RecordT:
    """Decode what `seal` wrote into `model`; `StoreError` with one line if a bit of it is different."""
    try:
        values = json.loads(content)
        expected = values.pop("seal")
        if digest(values) != expected:
            raise ValueError("its contents do not match its seal")
        return model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{where} cannot be read: {place}: {first['msg']}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise StoreError(f"{where} cannot be read: {error}") from error
