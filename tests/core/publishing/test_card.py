"""The card says what the artifacts say, and its metadata is what the Hub understands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard


@pytest.fixture
def cards(stage: Any, tmp_path: Path) -> dict[str, str]:
    """The four cards, by the end of the repository's name."""
    stage.run(url=str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "lab"
    return {
        path.parent.name.removeprefix("nanochat-tiny_drope_50-"): path.read_text() for path in folder.rglob("README.md")
    }


def front_matter(card: str) -> dict[str, Any]:
    matter: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return matter


def test_the_metadata_names_library_licence_and_parent(cards: dict[str, str]) -> None:
    native, exported = front_matter(cards["sft"]), front_matter(cards["hf-sft"])
    assert (native["library_name"], exported["library_name"]) == ("nanochat", "transformers")
    assert {matter["license"] for matter in (native, exported)} == {"mit"}
    assert exported["pipeline_tag"] == "text-generation"
    assert exported["base_model"] == "lab/nanochat-tiny_drope_50-hf-base"
    assert {"nope", "custom_code", "sft"} <= set(exported["tags"])
    assert "base_model" not in front_matter(cards["hf-base"])
    assert ModelCard(cards["hf-sft"]).data.base_model == "lab/nanochat-tiny_drope_50-hf-base"


def test_the_card_tells_how_to_load_the_model(cards: dict[str, str]) -> None:
    for name in ("hf-base", "hf-sft"):
        code = cards[name].split("```python\n")[1].split("```")[0]
        compile(code, name, "exec")
        assert f'"lab/nanochat-tiny_drope_50-{name}"' in code
        assert "trust_remote_code=True" in code
    assert "apply_chat_template" in cards["hf-sft"]
    assert "~/.cache/nanochat/chatsft_checkpoints/tiny_drope_50" in cards["sft"]


def test_the_card_tells_that_rope_was_dropped_and_when(cards: dict[str, str]) -> None:
    for card in cards.values():
        assert "`use_rope` is false" in card
        assert "RoPE for the first 50 % of pretraining, none after" in card


def test_the_numbers_are_those_of_the_artifacts(cards: dict[str, str]) -> None:
    card = cards["hf-sft"]
    assert "| optimizer steps | 300 | 50 |" in card
    assert "| tokens | 1,228,800 | 204,800 |" in card
    assert "| sequence length | 256 | 512 |" in card
    assert "| bits per byte | 2.0625 | bits per byte |  | 98,765 bytes |" in card
    assert "| exact answers/simple-spelling | 0.5000 | share | 0.3812 to 0.6188 | 64 questions |" in card
    assert "950,272 parameters" in card


def test_a_model_with_positions_says_so(stage: Any, tmp_path: Path) -> None:
    path = stage.inputs["native-base"] / "meta_000300.json"
    path.write_text(path.read_text().replace('"use_rope": false', '"use_rope": true'))
    stage.run(url=str(tmp_path / "hub"))
    card = (tmp_path / "hub" / "lab" / "nanochat-tiny_drope_50-base" / "README.md").read_text()
    assert "Positions are rotary (RoPE)" in card
    assert "rope" in front_matter(card)["tags"]


def test_the_overlap_with_the_training_text_is_told_and_linked(stage: Any, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    task = {"questions": 1319, "too_short": 3, "overlapping": 12, "ngrams": 50_000, "overlapping_ngrams": 40}
    tasks = {"gsm8k": task, "spelling-bee": {**task, "questions": 256, "overlapping": 0}}
    (report / "decontamination.json").write_text(json.dumps({"ngram": 13, "tasks": tasks}))
    (report / "decontamination.md").write_text("# Overlap\n")
    stage.inputs["decontamination"] = report
    stage.run(url=str(tmp_path / "hub"))
    repositories = sorted((tmp_path / "hub" / "lab").iterdir())
    assert len(repositories) == 4
    for repository in repositories:
        card = (repository / "README.md").read_text()
        assert "12 of 1,575 evaluation questions share 13 words in a row" in card
        assert "(gsm8k 12 of 1,319, spelling-bee 0 of 256); 6 are too short to tell" in card
        (linked,) = re.findall(r"\[`decontamination\.md`\]\((.+?)\)", card)
        assert (repository / linked).read_text() == "# Overlap\n"


def test_a_tag_without_a_report_says_nothing_of_overlap(cards: dict[str, str]) -> None:
    assert all("Overlap" not in card for card in cards.values())
