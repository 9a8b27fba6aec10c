"""Collecting garbage in two steps: what is found is marked, and deleted by a collection after the undo window.

A collection deletes only what it has itself found unreachable again, just before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from artifacts.garbage.trash import Deleted
from artifacts.store import Store
from core.planning.garbage import Garbage, GarbageSurvey

DAY = 86_400.0
WINDOW_DAYS = 7.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When, and how patiently."""

    now: float  # seconds since the epoch
    window: float  # seconds between mark and deletion
    lease_seconds: float
    wait: Callable[[float], object]  # called with seconds; may raise to stop


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a collection did: folders."""

    marked: tuple[str, ...]
    kept: tuple[str, ...]  # whose mark was void: reached again, or worked on
    deleted: tuple[str, ...]
    deleted_bytes: int
    busy: tuple[str, ...]  # in use just now: the next collection tries again

    def listing(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "marked": list(self.marked),
            "kept": list(self.kept),
            "deleted": list(self.deleted),
            "deleted_bytes": self.deleted_bytes,
            "busy": list(self.busy),
        }


def collect(store: Store, survey: GarbageSurvey, terms: Terms) -> Collected:
    """Mark what is new, keep what is reached again, delete what was marked long ago. Raises `StoreError`."""
    survey.require_known()
    new = survey.unmarked()
    kept = store.trash.take_back(survey.void, terms.lease_seconds)
    store.trash.mark(found.tombstone(terms.now) for found in new)
    marked = tuple(found.address.folder for found in new)
    return _deleted(store, survey, terms, marked=marked, kept=tuple(kept))


def delete_expired(store: Store, survey: GarbageSurvey, terms: Terms) -> Collected:
    """Delete what was marked long ago, and mark nothing. Raises `StoreError`."""
    survey.require_known()
    return _deleted(store, survey, terms, marked=(), kept=())


def _deleted(
    store: Store, survey: GarbageSurvey, terms: Terms, *, marked: tuple[str, ...], kept: tuple[str, ...]
) -> Collected:
    expired = survey.expired(terms.now, terms.window)
    stones = [survey.stones[found.address.folder] for found in expired]
    done = store.trash.delete(stones, terms.lease_seconds, terms.wait) if stones else Deleted()
    store.running_plans.forget(terms.now)
    return Collected(
        marked=marked,
        kept=(*kept, *done.void),
        deleted=tuple(done.gone),
        deleted_bytes=_bytes(expired, done.gone),
        busy=(*done.busy, *done.unreadable),
    )


def _bytes(garbage: tuple[Garbage, ...], gone: list[str]) -> int:
    return sum(found.bytes for found in garbage if found.address.folder in gone)
