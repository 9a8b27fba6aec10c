"""What a study found in the cards of its models: their own contrasts, and the whole report beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.lineage.lineage import LINEAGE, Lineage

BASE, CHAT = "a" * 64, "b" * 64


def contrast(treatment: str, baseline: str, **more: Any) -> dict[str, Any]:
    return {
        "treatment": treatment,
        "baseline": baseline,
        "quantity": "long text",
        "unit": "bits per byte",
        "condition": "2x",
        "difference": -0.25,
        "interval": [-0.31, -0.19],
        "sample_size": 128,
        "sample_unit": "texts",
        "verdict": "better",
        **more,
    }


STUDY = {
    "tags": ["toy", "toy_drope_50"],
    "contrasts": [
        contrast("toy_drope_50-base", "toy-base"),
        contrast("toy_drope_75-base", "toy-base", difference=0.125),
        contrast("toy_drope_50-base, logit-scale", "toy_drope_50-base", difference=-0.5),
        contrast("toy_drope_50-sft", "toy-sft", interval=None, verdict="too few to tell"),
    ],
    "provenance": {"inputs": {"evaluate:toy_drope_50-base": BASE, "evaluate:toy_drope_50-sft": CHAT}},
}


def publish_with_study(stage: Any, hub: Path) -> dict[str, str]:
    """Cards by the repository's name, published with the study."""
    for name in ("study", "lineage"):
        (stage.root / name).mkdir()
        stage.inputs[name] = stage.root / name
    (stage.root / "study" / "study.json").write_text(json.dumps(STUDY))
    (stage.root / "study" / "report.html").write_text("<!doctype html>")
    lineage = Lineage(deliverables={"evaluation-base": BASE, "evaluation-sft": CHAT}, stages=())
    lineage.write(stage.root / "lineage" / LINEAGE)
    stage.run(url=str(hub))
    return {path.parent.name: path.read_text() for path in hub.glob("lab/*/README.md")}


def test_a_card_tells_the_contrasts_of_its_own_model(stage: Any, tmp_path: Path) -> None:
    cards = publish_with_study(stage, tmp_path / "hub")
    base = next(text for name, text in cards.items() if name.endswith("-hf-base"))
    assert (
        "| `toy_drope_50-base` less `toy-base` | long text, bits per byte | 2x | -0.2500 | -0.3100 to -0.1900 "
        "| 128 texts | better |"
    ) in base
    assert "toy_drope_75" not in base  # of which it is no side
    assert "logit-scale" not in base  # itself, read in another way
    chat = next(text for name, text in cards.items() if name.endswith("-hf-sft"))
    assert "| `toy_drope_50-sft` less `toy-sft` | long text, bits per byte | 2x | -0.2500 |  | 128 texts |" in chat


def test_the_report_is_published_beside_every_card(stage: Any, tmp_path: Path) -> None:
    cards = publish_with_study(stage, tmp_path / "hub")
    assert len(cards) == 4
    for name, text in cards.items():
        assert "[`study.html`](study.html)" in text
        assert (tmp_path / "hub" / "lab" / name / "study.html").read_text() == "<!doctype html>"


def test_without_a_study_a_card_says_nothing_of_one(stage: Any, tmp_path: Path) -> None:
    stage.run(url=str(tmp_path / "hub"))
    for card in (tmp_path / "hub").glob("lab/*/README.md"):
        assert "siblings" not in card.read_text()
        assert not (card.parent / "study.html").exists()
