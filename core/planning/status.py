"""What exists of each tag, as one listing of the store shows it: no artifact is read.

A tag is complete when its publication and everything it is made of are there, or no longer needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifacts.store import Store
from core.planning.cost import Cost
from core.planning.plan import Plan, PlannedStage, plan_against
from core.planning.progress import required
from core.planning.study import contents_with_studies


@dataclass(frozen=True, kw_only=True)
class TagStatus:
    """One tag's stages, needs first, and those of them that it still lacks."""

    tag: str
    stages: tuple[PlannedStage, ...]
    lacking: tuple[PlannedStage, ...]

    @property
    def cached(self) -> int:
        """How many of its stages exist."""
        return sum(planned.progress.state == "cached" for planned in self.stages)

    @property
    def remaining(self) -> Cost:
        """What completing this tag alone takes."""
        return sum((planned.remaining for planned in self.lacking), Cost())

    @property
    def total(self) -> Cost:
        """What the tag took or takes, from nothing."""
        return sum((planned.cost for planned in self.stages), Cost())


@dataclass(frozen=True, kw_only=True)
class Status:
    """Many tags, and the plan that merges them."""

    plan: Plan
    tags: tuple[TagStatus, ...]
    store_url: str


def read_status(tags: Sequence[str], store: Store) -> Status:
    """Look `tags` up in `store`. Raises `RecipeError` for an unknown tag, `StoreError`."""
    contents = contents_with_studies(store, store.contents())
    plan = plan_against(tags, store, contents)
    found = []
    for tag in plan.tags:
        stages = tuple(one for one in plan.stages if tag in one.tags)
        missing = required([one.stage for one in stages], contents.artifacts)
        lacking = tuple(one for one in stages if one.stage.key in missing)
        found.append(TagStatus(tag=tag, stages=stages, lacking=lacking))
    return Status(plan=plan, tags=tuple(found), store_url=store.url)
