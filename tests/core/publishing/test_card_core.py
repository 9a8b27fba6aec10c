"""CORE in the card of a base model: with its tasks and what they are, or missing with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TASK = {"type": "schema", "shots": 10, "asked": 100, "correct": 73, "baseline": 0.5, "centered": 0.46, "cropped": 2}
ACCURACY = {"value": 0.73, "unit": "share of answers right", "sample_size": 100, "sample_unit": "questions"}
CORE = {"value": 0.46, "unit": "mean", "sample_size": 1, "sample_unit": "tasks", "interval": [0.2715, 0.6145]}
DOCUMENT: dict[str, Any] = {
    "sequence_length": 512,
    "bundle": {"title": "", "sha256": "ab" * 32, "files": []},
    "results": {"core": CORE, "accuracy/winograd": {**ACCURACY, "interval": [0.6357, 0.8073]}},
    "tasks": {"winograd": TASK},
    "missing": ["copa"],
}


def base_card(stage: Any, hub: Path, document: dict[str, Any] | None = None) -> str:
    if document is not None:
        folder = hub.with_name("core")
        folder.mkdir()
        (folder / "core.json").write_text(json.dumps(document))
        (folder / "core.md").write_text("# CORE\n")
        stage.inputs["core-metric-base"] = folder
    stage.run(url=str(hub))
    (card,) = hub.glob("lab/*-hf-base/README.md")
    return card.read_text()


def test_core_stands_with_its_tasks_their_digest_and_what_is_missing(stage: Any, tmp_path: Path) -> None:
    card = base_card(stage, tmp_path / "hub", DOCUMENT)
    assert "CORE 0.4600, 95 % interval 0.2715 to 0.6145: the mean of" in card
    assert "| winograd | 10 | 73.0% | 63.6% to 80.7% | 73 | 100 | 50.0% | 0.4600 |" in card
    assert f"`{'ab' * 32}`" in card
    assert "**Missing: copa.** They have no score and are not in the mean." in card
    assert "2 questions were longer than 512 tokens and lost their beginning." in card
    for repository in (tmp_path / "hub" / "lab").glob("*-base"):
        assert (repository / "core.md").read_text() == "# CORE\n"
        assert json.loads((repository / "core.json").read_bytes()) == DOCUMENT


def test_tasks_that_are_not_those_of_the_literature_are_called_what_they_are(stage: Any, tmp_path: Path) -> None:
    bundle = {**DOCUMENT["bundle"], "title": "synthetic tasks, not comparable"}
    card = base_card(stage, tmp_path / "hub", {**DOCUMENT, "bundle": bundle})
    assert "over 1 tasks. **Of synthetic tasks, not comparable.**" in card


@pytest.mark.parametrize(
    ("direction", "why"), [("forward", "its tasks were not given"), ("backward", "the model reads backward")]
)
def test_core_that_was_not_measured_is_missing_and_no_number(
    stage: Any, tmp_path: Path, direction: str, why: str
) -> None:
    for path in stage.inputs["native-base"].glob("meta_*.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "direction": direction}))
    card = base_card(stage, tmp_path / "hub")
    section = card.split("### CORE\n")[1].split("\n#")[0]
    assert f"**Missing**: {why}" in section
    assert not any(letter.isdigit() for letter in section)
