"""Types of flow parameters: what the run form of the Prefect UI offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from core.recipes.table import recipes

if TYPE_CHECKING:
    Tag = str
else:
    Tag = Literal[tuple(recipes())]  # so that the run form shows a drop-down of the tags
