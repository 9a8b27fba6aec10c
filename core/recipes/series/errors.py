"""What is wrong with a series file, in one line that names the file, the place in it, and what would do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from core.recipes.recipe import RecipeError

MOST_SHOWN = 12  # names that one line can hold


class SeriesError(RecipeError):
    """A series file that cannot be used."""


def unknown(name: str, known: Iterable[str], *, what: str) -> str:
    """`no axis is called 'dept'; did you mean depth?`, or what is known when nothing is near."""
    known = list(known)
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    shown = ", ".join(known[:MOST_SHOWN]) + (f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {shown}"
    return f"no {what} is called {name!r}; {hint}"
