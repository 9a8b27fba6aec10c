"""What can go wrong with a store, each in one line that says what, where and what to do; never with a secret in it."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.redaction import redact

REPAIR = "`miniseries verify` lists it and the next `miniseries run` makes it again"


class StoreError(Exception):
    """Something about the store that its user can act on. `str()` is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(" ".join(message.split())))


class StoreUnavailable(StoreError):
    """The store cannot be used now: unreachable, timed out, refused, read-only, full, or without conditional writes."""


class ArtifactMissing(StoreError):
    """An artifact that was asked for is not committed."""


class CacheFull(StoreError):
    """A copy does not fit into the local cache beside those that are in use."""


class LeaseLost(StoreError):
    """Somebody else holds the lease, or it could not be renewed in time: stop, and commit nothing."""


class AlreadyCommitted(StoreError):
    """The artifact was committed by somebody else first; theirs counts."""


@dataclass(frozen=True)
class Damage:
    """One file of an artifact that is not what its manifest says."""

    folder: str  # of the artifact, in the store
    file: str
    problem: str  # one phrase: what was expected, what was found

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class ArtifactDamaged(StoreError):
    """Files of a committed artifact are missing or are not what the manifest says."""

    damages: tuple[Damage, ...] = ()

    @classmethod
    def of(cls, folder: str, damages: tuple[Damage, ...]) -> ArtifactDamaged:
        """The error that names the first of `damages` and counts the others."""
        more = f" (and {len(damages) - 1} more files)" if len(damages) > 1 else ""
        error = cls(f"artifact {folder} is damaged: {damages[0]}{more}; {REPAIR}")
        error.damages = damages
        return error
