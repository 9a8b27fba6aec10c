"""What a night's maintenance found: as JSON, as Markdown, and in one line. The newest report is kept in the store.

maintenance/report.json
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field

from artifacts.manifest import FORMAT, STRICT
from artifacts.store import Store
from core.maintenance.recomputation import Comparison
from core.maintenance.rotation import Share
from core.planning.collection import Collected
from core.planning.garbage import GarbageSurvey

PATH = "maintenance/report.json"


@dataclass(frozen=True, kw_only=True)
class Recomputation:
    """What was made again; `comparison` is None when nothing was small enough."""

    comparison: Comparison | None
    candidates: int
    limit_seconds: float


@dataclass(frozen=True, kw_only=True)
class GarbageReport:
    """What could be collected, and what was."""

    survey: GarbageSurvey
    collected: Collected | None


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """One night. A part is None when it could not be done: then `errors` has its line."""

    share: Share | None
    recomputation: Recomputation | None
    garbage: GarbageReport | None
    errors: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Whatever a person has to look at, one line each."""
        damaged = self.share.damaged if self.share else ()
        comparison = self.recomputation.comparison if self.recomputation else None
        return (
            *(f"{one.folder} is damaged: {one.damages[0]}" for one in damaged),
            *(comparison.differences if comparison else ()),
            *self.errors,
        )

    @property
    def verdict(self) -> str:
        """What came of it, in one line: the problems, if there are any."""
        return "; ".join(self.problems) or "; ".join(self._lines())

    def listing(self) -> dict[str, object]:
        """The JSON shape."""
        recomputed, garbage = self.recomputation, self.garbage
        return {
            "verification": None if self.share is None else asdict(self.share),
            "recomputation": None if recomputed is None else asdict(recomputed),
            "garbage": None if garbage is None else _garbage_listing(garbage),
            "problems": list(self.problems),
        }

    def markdown(self) -> str:
        """For the page of a flow run."""
        lines = [f"- **problem**: {problem}" for problem in self.problems]
        lines += [f"- {line}" for line in self._lines()]
        if self.garbage and self.garbage.survey.garbage:
            lines += ["", "| what | path | bytes | GPU-hours | why |", "|---|---|---|---|---|"]
            for one in self.garbage.survey.garbage:
                hours = "" if one.gpu_hours is None else f"{one.gpu_hours:,.2f}"
                cells = (one.what, one.address.folder, f"{one.bytes:,}", hours, one.reason.replace("|", "/"))
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _lines(self) -> Iterable[str]:
        if self.share:
            read = f"{self.share.verified} of {self.share.artifacts} artifacts read ({self.share.bytes / 1e9:,.2f} GB)"
            yield f"{read}, {len(self.share.damaged)} damaged; all are read within {self.share.nights} nights"
        if self.recomputation:
            yield _recomputed(self.recomputation)
        if self.garbage:
            garbage = self.garbage.survey.garbage
            size, hours = sum(one.bytes for one in garbage), sum(one.gpu_hours or 0.0 for one in garbage)
            deleted = f", {len(self.garbage.collected.deleted)} deleted" if self.garbage.collected else ""
            yield f"{len(garbage)} could be collected ({size / 1e9:,.2f} GB, {hours:,.2f} GPU-hours){deleted}"


class MaintenanceRecord(BaseModel):
    """The newest report, in the store."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    finished: float = Field(default_factory=time.time)  # seconds since the epoch
    report: dict[str, Any]
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)


def keep_report(store: Store, maintenance: Maintenance) -> None:
    """Write the report into the store, over the last one. Raises `StoreError`."""
    store.records.write(PATH, MaintenanceRecord(report=maintenance.listing()))


def _recomputed(recomputation: Recomputation) -> str:
    comparison = recomputation.comparison
    if comparison is None:
        return f"nothing was made again: no training stage here takes {recomputation.limit_seconds:g} s or less"
    verdict = f"{len(comparison.differences)} differences" if comparison.differences else "equal"
    return f"{comparison.folder} made again, {verdict}: {comparison.compared}"


def _garbage_listing(report: GarbageReport) -> dict[str, object]:
    survey = report.survey
    return {
        "garbage": [one.listing() for one in survey.garbage],
        "left_alone": [{"path": alone.folder, "why": alone.why} for alone in survey.left_alone],
        "unknown": list(survey.unknown),
        "collected": None if report.collected is None else report.collected.listing(),
    }
