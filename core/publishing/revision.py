"""What stands at a destination beside what a tag's artifacts say should: audited, compared, and only then corrected.

By content, never by dates. The audit is of what stands there before anything is corrected, against its own index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from core.publishing.audit import Finding, audit
from core.publishing.publish import build_repositories, open_destination
from core.publishing.repository import Destination, Repository
from core.stages.context import StageContext
from core.stages.identity import PublishIdentity


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One repository: what was found, and what became of it."""

    repository: str
    files: int  # that it should have, besides the index
    version: int  # that stands there now; 0: nothing
    findings: tuple[Finding, ...]  # of the audit
    changed: tuple[str, ...]  # that differ from the artifacts or the card made of them, damaged ones included
    removed: tuple[str, ...]  # that are no longer part of it
    corrected: bool = False

    @property
    def is_current(self) -> bool:
        """Whether there was nothing to correct; what others put there is found, but is theirs."""
        return bool(self.version) and not (self.changed or self.removed)

    def listing(self) -> Mapping[str, object]:
        """The JSON shape."""
        return {
            "repository": self.repository,
            "files": self.files,
            "version": self.version,
            "findings": [asdict(finding) for finding in self.findings],
            "changed": list(self.changed),
            "removed": list(self.removed),
            "corrected": self.corrected,
        }


def examine(context: StageContext[PublishIdentity]) -> list[Revision]:
    """Audit and compare every repository of the tag; changes nothing. Raises what publishing raises."""
    destination = open_destination(context)
    return [_examined(destination, repository) for repository in build_repositories(context)]


def correct(context: StageContext[PublishIdentity]) -> list[Revision]:
    """The same, then publish what differs: a new version of the repositories that do, nothing for the others."""
    destination, repositories = open_destination(context), build_repositories(context)
    found = [_examined(destination, repository) for repository in repositories]
    corrected = []
    for revision, repository in zip(found, repositories, strict=True):
        done = destination.publish(repository, distrusted=revision.changed)
        corrected.append(replace(revision, version=done.version, corrected=done.version != revision.version))
    destination.release(repositories, context.identity.collection)
    return corrected


def _examined(destination: Destination, repository: Repository) -> Revision:
    difference = destination.compare(repository)
    findings = audit(destination.published(repository)).findings if difference.version else ()
    ours = repository.hashes.keys() & {finding.path for finding in findings}
    return Revision(
        repository=repository.id,
        files=len(repository.files),
        version=difference.version,
        findings=findings,
        changed=tuple(sorted({file.path for file in difference.changed} | ours)),
        removed=difference.removed,
    )
