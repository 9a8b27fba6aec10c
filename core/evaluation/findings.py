"""What a suite hands back: numbers, texts to read, and for a chat model how its examination went."""

from __future__ import annotations

from dataclasses import dataclass

from core.evaluation.measurement import Measurement
from core.evaluation.samples import Sample
from core.evaluation.scores import Examination


@dataclass(frozen=True)
class Findings:
    """What a suite found out about a subject."""

    results: dict[str, Measurement]
    samples: tuple[Sample, ...]
    how_sampled: str
    examination: Examination | None = None
