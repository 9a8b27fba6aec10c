"""What the study of a model's family found, as far as this model is part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.publishing.card_markdown import table
from core.publishing.deliverables import STUDY_PAGE, Deliverable

COLUMNS = ("compared", "in", "at", "difference", "95 % interval", "sample", "verdict")


def study_section(model: Deliverable, study: Mapping[str, Any]) -> str:
    """The contrasts that the model takes part in, and where the whole report is."""
    rows = list(_rows(study, _called(model, study)))
    tags = ", ".join(f"`{tag}`" for tag in study["tags"])
    parts = [
        f"From the study of {tags}: this model beside its siblings, on the same clusters. Differences are the first "
        "less the second, with paired bootstrap intervals; one that holds zero means that no difference was detected."
    ]
    parts += [table(COLUMNS, rows)] if rows else ["Nothing in it differs from this model in one respect alone."]
    parts.append(f"All of it, with figures and methods: [`{STUDY_PAGE}`]({STUDY_PAGE}).")
    return "\n\n".join(parts)


def _called(model: Deliverable, study: Mapping[str, Any]) -> str:
    """The model as the study calls it: by the evaluation that both were given. Empty when the study has another."""
    key = model.lineage.deliverables.get(f"evaluation-{model.phase}")
    inputs = study["provenance"]["inputs"]
    return next((role.partition(":")[2] for role, found in inputs.items() if found == key), "")


def _rows(study: Mapping[str, Any], model: str) -> Iterator[tuple[str, ...]]:
    """Where the model is on one side and another one on the other; itself in two ways is told by its own tables."""
    for one in study["contrasts"]:
        sides = [one[side].split(", ")[0] for side in ("treatment", "baseline")]
        if model in sides and sides[0] != sides[1]:
            interval = "" if one["interval"] is None else " to ".join(f"{bound:+.4f}" for bound in one["interval"])
            yield (
                f"`{one['treatment']}` less `{one['baseline']}`",
                f"{one['quantity']}, {one['unit']}",
                one["condition"],
                f"{one['difference']:+.4f}",
                interval,
                f"{one['sample_size']:,} {one['sample_unit']}",
                one["verdict"],
            )
