"""What a study found: everything that its report says, and nothing that is not written to `study.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from core.study.contrasts import Compared
from core.study.overview import ModelRow, NeedleRow, PositionRow
from core.study.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a report says."""

    tags: tuple[str, ...]
    headline: tuple[str, ...]
    details: tuple[str, ...]
    models: tuple[ModelRow, ...]
    positions: tuple[PositionRow, ...]
    needles: tuple[NeedleRow, ...]
    compared: Compared
    provenance: Provenance

    @property
    def clear(self) -> int:
        """How many intervals leave zero out."""
        return sum(one.verdict in ("better", "worse") for one in self.compared.effects)

    @property
    def intervals(self) -> int:
        """How many differences have an interval."""
        return sum(one.interval is not None for one in self.compared.effects)

    def listing(self) -> Mapping[str, object]:
        """The JSON shape."""
        return {
            "tags": self.tags,
            "headline": self.headline,
            "details": self.details,
            "intervals": self.intervals,
            "clear": self.clear,
            "models": [asdict(one) for one in self.models],
            "contrasts": [asdict(one) for one in self.compared.contrasts],
            "summaries": [asdict(one) for one in self.compared.summaries],
            "missing": [asdict(one) for one in self.compared.missing],
            "positions": [asdict(one) for one in self.positions],
            "needles": [asdict(one) for one in self.needles],
            "provenance": asdict(self.provenance),
        }
