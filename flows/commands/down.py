"""`miniseries down`: stop what `miniseries up` started."""

from __future__ import annotations


def down(*, yes: bool) -> None:
    """Stop it, telling what."""
    raise NotImplementedError(yes)


def down_json(*, yes: bool) -> None:
    """The same; what was stopped as JSON."""
    raise NotImplementedError(yes)
