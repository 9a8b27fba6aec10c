"""Whether a published repository is what its own index says, told from the repository alone.

Checked: the sha256 of every file that `.miniseries.json` lists; that no further file lies beside them; that a parity
certificate passed and is about the very files that are there; that the card's front matter is what the Hub reads.
Whoever can write the repository can write its index too: an audit finds damage and edits, not a forger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.manifest import safe_path
from artifacts.transfer import at_once
from core.export.certificate import CERTIFICATE, read_certificate
from core.publishing.published import PublishedFiles, open_published
from core.publishing.repository import CARD, INDEX, decode_index
from core.stages.context import StageError

CONFIGURATION = "config.json"  # is where the Hugging Face layout is, whose weights a certificate vouches for


@dataclass(frozen=True)
class Finding:
    """One file that is not as it should be."""

    path: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found; nothing, when all is well."""

    repository: str
    revision: str | None
    files: int  # that the index lists
    findings: tuple[Finding, ...]


def audit_repository(name: str, say: Callable[[str], None] = lambda line: None) -> Audit:
    """Audit the repository called `name` (see `open_published`); raises `StageError` when it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="miniseries-audit-") as scratch:
        return audit(open_published(name, Path(scratch), say))


def audit(published: PublishedFiles) -> Audit:
    """Audit one repository; several files at a time are read or downloaded."""
    there = published.paths()
    listed = decode_index(published.local(INDEX).read_bytes()) if INDEX in there else {}
    if listed:
        readable = [path for path in listed if path in there and _is_safe(path)]
        hashes = dict(zip(readable, at_once(published.sha256, readable), strict=True))
        findings = (
            *_contents(listed, hashes),
            *(Finding(path, "stands there, but is not in the index") for path in _further(there, listed)),
            *_certified(published, hashes),
            *_card(published, hashes),
        )
    else:
        findings = (Finding(INDEX, "is missing or lists nothing, so nothing can be verified"),)
    return Audit(repository=published.name, revision=published.revision, files=len(listed), findings=findings)


def _contents(listed: Mapping[str, str], hashes: Mapping[str, str]) -> Iterator[Finding]:
    for path, sha256 in listed.items():
        if path not in hashes:
            yield Finding(path, "is missing")
        elif hashes[path] != sha256:
            yield Finding(path, f"has sha256 {hashes[path][:12]}, the index says {sha256[:12]}")


def _further(there: list[str], listed: Mapping[str, str]) -> list[str]:
    """Files that nobody lists; hidden ones (.gitattributes, a client's own notes) are no part of a model."""
    return [path for path in there if path not in listed and not path.startswith(".")]


def _certified(published: PublishedFiles, hashes: Mapping[str, str]) -> Iterator[Finding]:
    if CERTIFICATE not in hashes:
        if CONFIGURATION in hashes:
            yield Finding(CERTIFICATE, "is missing, so nothing vouches for the weights")
        return
    try:
        certificate = read_certificate(published.local(CERTIFICATE).parent)
    except StageError:
        yield Finding(CERTIFICATE, "cannot be read as a certificate")
        return
    yield from (Finding(CERTIFICATE, failed.failure) for failed in certificate.failures)
    if not (certificate.passed and certificate.checks):
        yield Finding(CERTIFICATE, "does not say that its checks passed")
    for path, sha256 in certificate.files.items():
        if path != CARD and hashes.get(path) != sha256:
            found = hashes.get(path, "none")[:12]
            yield Finding(path, f"has sha256 {found}, {CERTIFICATE} is about {sha256[:12]}")


def _card(published: PublishedFiles, hashes: Mapping[str, str]) -> Iterator[Finding]:
    if CARD not in hashes:
        yield Finding(CARD, "is missing from the index; a repository has a card")
        return
    from huggingface_hub import ModelCard  # here: it takes a second, and planning never needs it
    from yaml import YAMLError

    try:
        data = ModelCard(published.local(CARD).read_text(encoding="utf-8")).data
    except (ValueError, YAMLError) as error:  # UnicodeDecodeError is a ValueError
        reason = str(error).partition("\n")[0]
        yield Finding(CARD, f"its front matter is not what the Hub reads: {reason}")
        return
    if missing := [field for field in ("license", "library_name") if not data.get(field)]:
        yield Finding(CARD, f"its front matter has no {missing[0]}")


def _is_safe(path: str) -> bool:
    try:
        return bool(safe_path(path))
    except ValueError:
        return False
