"""CORE of a base model, task by task, or that it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.publishing.card_evaluation import written_value
from core.publishing.card_markdown import table
from core.publishing.deliverables import Deliverable

HEAD = ("task", "shots", "accuracy", "95 % interval", "right", "asked", "guessing", "above guessing")


def core_section(base: Deliverable) -> str:
    """The table of tasks with the number that it comes to; where nothing was measured, that it is missing."""
    document = base.core
    if document is None:
        backward = base.meta.get("direction", "forward") == "backward"
        why = (
            "the model reads backward, and its tasks ask how a text goes on" if backward else "its tasks were not given"
        )
        return f"**Missing**: {why}."
    results, tasks = document["results"], document["tasks"]
    core, rows = results["core"], []
    for label, task in tasks.items():
        accuracy = results[f"accuracy/{label}"]
        bounds = " to ".join(written_value(bound, accuracy["unit"]) for bound in accuracy["interval"])
        rows.append(
            (
                *(label, str(task["shots"]), written_value(accuracy["value"], accuracy["unit"]), bounds),
                *(f"{task['correct']:,}", f"{task['asked']:,}", f"{task['baseline']:.1%}", f"{task['centered']:.4f}"),
            )
        )
    low, high = core["interval"]
    parts = [
        f"CORE {core['value']:.4f}, 95 % interval {low:.4f} to {high:.4f}: the mean of (accuracy - guessing) / "
        f"(1 - guessing) over {core['sample_size']} tasks.{_what_tasks(document)}",
        table(HEAD, rows),
        f"The files of the tasks have sha256 `{document['bundle']['sha256']}`. How they were counted: "
        "[`core.md`](core.md); all numbers are in [`core.json`](core.json).",
    ]
    if missing := document["missing"]:
        parts.append(f"**Missing: {', '.join(missing)}.** They have no score and are not in the mean.")
    if cropped := sum(task["cropped"] for task in tasks.values()):
        length = document["sequence_length"]
        parts.append(f"{cropped:,} questions were longer than {length:,} tokens and lost their beginning.")
    return "\n\n".join(parts)


def _what_tasks(document: Mapping[str, Any]) -> str:
    title = document["bundle"]["title"]
    return f" **Of {title}.**" if title else ""
