"""The gate between an export and its publication: no certificate, a failed one, or one about other files stops it."""

from __future__ import annotations

from pathlib import Path

from core.export.certificate import CERTIFICATE, Certificate, describe, read_certificate
from core.stages.context import StageError


def check_certificate(folder: Path) -> Certificate:
    """The certificate of the export in `folder`; raises `StageError` unless it passed and is about these files."""
    certificate = read_certificate(folder)
    if failures := certificate.failures:
        more = f"; {len(failures) - 1} more failed" if len(failures) > 1 else ""
        raise StageError(f"{folder}: cannot be published: {failures[0].failure}{more}")
    if not (certificate.passed and certificate.checks):
        raise StageError(f"{folder / CERTIFICATE}: certifies nothing; export it again")
    found = describe(folder)
    for path in sorted(found.keys() | certificate.files.keys()):
        if found.get(path) != certificate.files.get(path):
            raise StageError(
                f"{folder / path}: is not the file that {CERTIFICATE} is about "
                f"(sha256 {_short(found.get(path))}, certified {_short(certificate.files.get(path))}); export it again"
            )
    return certificate


def _short(sha256: str | None) -> str:
    return "none" if sha256 is None else sha256[:12]
