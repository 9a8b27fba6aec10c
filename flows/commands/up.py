"""`miniseries up`: what runs deployments on this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asked for; None: as it comes."""

    port: int | None
    gpu_slots: int
    database: str | None


def up(wanted: Wanted) -> None:
    """Start what is missing, telling how far it is."""
    raise NotImplementedError(wanted)


def up_json(wanted: Wanted) -> None:
    """The same; what there is as JSON."""
    raise NotImplementedError(wanted)
