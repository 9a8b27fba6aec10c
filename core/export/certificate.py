"""The parity certificate of an export: what was compared with the trained model, how far apart it was and may be.

`certificate.json` stands beside the files it is about and names each with its sha256, so it is worth nothing beside
others. A check that failed stays in it with its numbers; whoever publishes asks `core.publishing.gate`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from artifacts.encoding import canonical
from artifacts.transfer import at_once, sha256_of
from core.stages.context import StageError

CERTIFICATE = "certificate.json"

Layout = Literal["hf", "twin"]
Limit = Literal["at most", "at least", "exactly"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison. `sample_size` counts what was compared (`sample_unit`), drawn by `seed` where it was drawn."""

    name: str
    passed: bool
    measured: float | None  # None: not a number
    limit: Limit
    bound: float
    unit: str
    sample_size: int
    sample_unit: str
    seed: int | None = None
    detail: str = ""  # which tensor, text or position, when it failed

    @property
    def failure(self) -> str:
        """One line: which check and by how much."""
        where = f" ({self.detail})" if self.detail else ""
        measured = "not a number of" if self.measured is None else f"{self.measured:.6g}"
        return (
            f"check {self.name}: {measured} {self.unit}, must be {self.limit} {self.bound:.6g}, "
            f"over {self.sample_size:,} {self.sample_unit}{where}"
        )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """All checks of one export, by the library versions that ran them; `files` maps every other file to its sha256."""

    layout: Layout
    passed: bool
    versions: Mapping[str, str]
    difference: str  # what the export does not do as the model does; empty for none
    checks: tuple[Check, ...]
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write `certificate.json` beside the files."""
        text = json.dumps(canonical(self), indent=1, sort_keys=False, ensure_ascii=False)
        (folder / CERTIFICATE).write_text(text + "\n", encoding="utf-8")

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass, in the order they were made."""
        return tuple(check for check in self.checks if not check.passed)


_CERTIFICATE: TypeAdapter[Certificate] = TypeAdapter(Certificate)


@dataclass(frozen=True)
class Compared:
    """How much a check compared: `size` of `unit`, drawn by `seed` where it was drawn."""

    size: int
    unit: str
    seed: int | None = None


def at_most(name: str, measured: float, bound: float, unit: str, of: Compared, detail: str = "") -> Check:
    """A check that passes when `measured` is a number no larger than `bound`; `detail` is kept when it is not."""
    return _check(name, measured <= bound, measured, "at most", bound, unit, of, detail)


def at_least(name: str, measured: float, bound: float, unit: str, of: Compared) -> Check:
    """A check that passes when `measured` is a number no smaller than `bound`."""
    return _check(name, measured >= bound, measured, "at least", bound, unit, of)


def exactly(name: str, measured: int, bound: int, unit: str, of: Compared) -> Check:
    """A check that passes for one number only."""
    return _check(name, measured == bound, measured, "exactly", bound, unit, of)


def describe(folder: Path) -> dict[str, str]:
    """sha256 of every file of an export but the certificate itself, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CERTIFICATE)
    hashes = at_once(sha256_of, paths)
    return {path.relative_to(folder).as_posix(): sha256 for path, sha256 in zip(paths, hashes, strict=True)}


def read_certificate(folder: Path) -> Certificate:
    """Read the certificate of an export; raises `StageError` when there is none or it is not one."""
    path = folder / CERTIFICATE
    try:
        return _CERTIFICATE.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StageError(f"{path}: not there, so nothing vouches for this export; export it again") from None
    except ValidationError as error:
        raise StageError(f"{path}: is no certificate: {error.errors()[0]['msg']}; export it again") from None


def _check(
    name: str, passed: bool, measured: float, limit: Limit, bound: float, unit: str, of: Compared, detail: str = ""
) -> Check:
    return Check(
        name=name,
        passed=passed,  # false where measured is nan, which compares as nothing
        measured=measured if isfinite(measured) else None,
        limit=limit,
        bound=bound,
        unit=unit,
        sample_size=of.size,
        sample_unit=of.unit,
        seed=of.seed,
        detail="" if passed else detail,
    )
