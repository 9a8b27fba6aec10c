"""What RoPE is worth to the same weights: bits per byte with it and without, on the same rows, and their difference.

`rope_at_drop` is of the weights that a recalibration started from, `rope_at_end` of those that it ended with; `rope` is
of a model that kept RoPE, what it would lose. The difference is paired by row, so its interval is narrower than those
of its two parts, and a quarter of the held-out rows is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.evaluation.held_out_rows import HeldOutRows, together
from core.evaluation.measured_rows import MeasuredRows, bits_per_byte
from core.evaluation.measurement import Measurement
from core.evaluation.subject import Subject

SHARE = 4  # one held-out row in so many, the first ones


@dataclass(frozen=True, kw_only=True)
class RopeEffect:
    """The rows of one set of weights, way by way."""

    name: str
    with_rope: Sequence[MeasuredRows]
    without_rope: Sequence[MeasuredRows]

    @property
    def rows(self) -> list[MeasuredRows]:
        """All that was measured."""
        return [*self.with_rope, *self.without_rope]

    def results(self, seed: int) -> dict[str, Measurement]:
        """`{name}/with`, `{name}/without`, and `{name}/without_minus_with`."""
        having, lacking = together(list(self.with_rope)), together(list(self.without_rope))
        return {
            f"{self.name}/with": having.bits_per_byte(seed),
            f"{self.name}/without": lacking.bits_per_byte(seed),
            f"{self.name}/without_minus_with": bits_per_byte(lacking.bits - having.bits, having.bytes, seed),
        }


def rope_effects(
    subject: Subject, before_drop: Subject | None, held_out: HeldOutRows, as_trained: Sequence[MeasuredRows]
) -> list[RopeEffect]:
    """At the drop and at the end of a recalibrated model, or of one that kept RoPE; nothing of any other.

    `as_trained` is what all the rows cost the model as it was trained.
    """
    held_out = held_out.one_in(SHARE)
    if before_drop is not None:
        return [
            RopeEffect(
                name="rope_at_drop",
                with_rope=held_out.measure_with_rope(before_drop, "rope_at_drop/with"),
                without_rope=held_out.measure_without_rope(before_drop, "rope_at_drop/without"),
            ),
            RopeEffect(
                name="rope_at_end",
                with_rope=held_out.measure_with_rope(subject, "rope_at_end/with"),
                without_rope=_first("rope_at_end/without", as_trained, held_out.count),
            ),
        ]
    if not subject.state.use_rope:
        return []
    return [
        RopeEffect(
            name="rope",
            with_rope=_first("rope/with", as_trained, held_out.count),
            without_rope=held_out.measure_without_rope(subject, "rope/without"),
        )
    ]


def _first(set_name: str, measured: Sequence[MeasuredRows], count: int) -> list[MeasuredRows]:
    return [one.first(count, set_name) for one in measured]
