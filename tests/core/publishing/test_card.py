"""The card says what the artifacts say: numbers with their samples, what is missing, where it all comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from huggingface_hub import ModelCard
from lineages import REVISION, write_lineage

from core.evaluation.long_context.tables import PositionRow, RateRow, Tables, rate
from core.evaluation.measurement import Measurement
from core.export.certificate import Certificate, Check, describe
from core.lineage.lineage import LINEAGE
from core.recipes.table import find_recipe

TAG = "tiny_drope_50"
CHECK = Check(
    name="logits of base prompts",
    passed=True,
    measured=3.1e-06,
    limit="at most",
    bound=1e-04,
    unit="largest difference",
    sample_size=512,
    sample_unit="positions",
)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the models were made from, as the pipeline hands it to the stage."""
    return write_lineage(tmp_path_factory.mktemp("artifacts"), TAG)


@pytest.fixture
def published(stage: Any, lineage: Path, tmp_path: Path) -> Path:
    """The folder of the four repositories."""
    stage.inputs["lineage"] = lineage
    stage.run(url=str(tmp_path / "hub"))
    return tmp_path / "hub" / "lab"


@pytest.fixture
def cards(published: Path) -> dict[str, str]:
    """The four cards, by the end of the repository's name."""
    return {
        path.parent.name.removeprefix(f"nanochat-{TAG}-"): path.read_text() for path in published.rglob("README.md")
    }


def front_matter(card: str) -> dict[str, Any]:
    matter: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return matter


def change_evaluation(folder: Path, **changes: object) -> None:
    path = folder / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def republished(stage: Any, tmp_path: Path, name: str) -> str:
    stage.run(url=str(tmp_path / "hub"))
    return (tmp_path / "hub" / "lab" / f"nanochat-{TAG}-{name}" / "README.md").read_text()


def test_the_metadata_names_library_licence_and_parent(cards: dict[str, str]) -> None:
    native, exported = front_matter(cards["sft"]), front_matter(cards["hf-sft"])
    assert (native["library_name"], exported["library_name"]) == ("nanochat", "transformers")
    assert {matter["license"] for matter in (native, exported)} == {"mit"}
    assert exported["pipeline_tag"] == "text-generation"
    assert exported["base_model"] == "lab/nanochat-tiny_drope_50-hf-base"
    assert exported["base_model_relation"] == "finetune"
    assert {"nope", "custom_code", "sft", "drope"} <= set(exported["tags"])
    assert "base_model" not in front_matter(cards["hf-base"])


def test_the_metadata_names_the_data_sets_that_the_hub_has(cards: dict[str, str]) -> None:
    assert front_matter(cards["hf-sft"])["datasets"] == ["HuggingFaceTB/smol-smoltalk"]
    assert "datasets" not in front_matter(cards["hf-base"])


def test_the_client_of_the_hub_reads_the_results_back(cards: dict[str, str]) -> None:
    data = ModelCard(cards["hf-sft"]).data
    results = {result.metric_type: result for result in data.eval_results}
    assert data.model_name == "nanochat-tiny_drope_50-hf-sft"
    assert results["bits_per_byte"].metric_value == 2.0625
    assert results["exact_answers"].metric_value == 0.5
    assert results["exact_answers"].dataset_type == "simple-spelling"
    assert results["exact_answers"].metric_name == "exact answers (64 questions, 95 % interval 38.1% to 61.9%)"


def test_a_base_is_measured_on_the_held_out_shard_of_its_text(cards: dict[str, str]) -> None:
    [result, _] = ModelCard(cards["hf-base"]).data.eval_results
    corpus = find_recipe(TAG).corpus
    assert (result.dataset_type, result.dataset_revision) == ("python-docs", corpus.revision)


def test_the_card_tells_that_rope_was_dropped_and_when(cards: dict[str, str]) -> None:
    for card in cards.values():
        assert "`use_rope` is false" in card
        assert "RoPE for the first 50% of pretraining (steps 0 to 139), none after" in card


def test_the_numbers_are_those_of_the_artifacts(cards: dict[str, str]) -> None:
    card = cards["hf-sft"]
    assert "| optimizer steps | 300 | 50 |" in card
    assert "| tokens | 1,228,800 | 204,800 |" in card
    assert "| sequence length | 256 | 512 |" in card
    assert "| bits per byte | 2.0625 | none | 98,765 bytes |" in card
    assert "| exact answers: simple-spelling | 50.0% | 38.1% to 61.9% | 64 questions |" in card
    assert "950,272 parameters" in card
    assert "| peak rate, matrices (Muon) | 0.02 | 0.016 |" in card


def test_a_model_with_positions_says_so(stage: Any, tmp_path: Path) -> None:
    path = stage.inputs["native-base"] / "meta_000300.json"
    path.write_text(path.read_text().replace('"use_rope": false', '"use_rope": true'))
    card = republished(stage, tmp_path, "base")
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
        assert "| gsm8k | 1,319 | 12 | 3 |" in card
        (linked,) = re.findall(r"\[`decontamination\.md`\]\((.+?)\)", card)
        assert (repository / linked).read_text() == "# Overlap\n"


def test_a_tag_without_a_report_says_nothing_of_overlap(cards: dict[str, str]) -> None:
    assert all("Overlap" not in card for card in cards.values())


def test_chatcore_stands_with_its_tasks_and_what_is_missing(stage: Any, tmp_path: Path) -> None:
    accuracy = {"value": 0.46875, "unit": "share of answers right", "sample_size": 32, "sample_unit": "questions"}
    core = {"value": 0.2917, "unit": "mean", "sample_size": 1, "sample_unit": "tasks", "interval": [0.0785, 0.514]}
    task = {"asked": 32, "correct": 15, "too_long": 2, "baseline": 0.25, "centered": 0.2917}
    change_evaluation(
        stage.inputs["evaluation-sft"],
        results={"chatcore": core, "accuracy/mmlu": {**accuracy, "interval": [0.309, 0.636]}},
        examination={"answer_tokens": 192, "tasks": {"mmlu": task}, "missing": ["gsm8k", "humaneval"]},
    )
    card = republished(stage, tmp_path, "hf-sft")
    assert "| mmlu | 46.9% | 30.9% to 63.6% | 15 | 32 | 25.0% | 0.2917 |" in card
    assert "ChatCORE 0.2917 (1 tasks, 95 % interval 0.0785 to 0.5140)" in card
    assert "**Missing: gsm8k, humaneval.** They have no score" in card
    assert "2 questions do not fit the model's context" in card


def measured(value: float, low: float, high: float, unit: str = "bits per byte") -> dict[str, Any]:
    return {"value": value, "unit": unit, "sample_size": 400, "sample_unit": "bytes", "interval": [low, high]}


def test_what_rope_is_worth_what_was_read_and_what_is_missing_stand_in_the_card_of_a_base(
    stage: Any, tmp_path: Path
) -> None:
    read = {"set": "validation", "way": "forward", "rows": 8, "documents": 21, "tokens": 120, "bytes": 400}
    points = [{"steps": 0, "bits_per_byte": 1.9}, {"steps": 140, "bits_per_byte": 1.75}]
    change_evaluation(
        stage.inputs["evaluation-base"],
        results={
            "bits_per_byte": measured(1.75, 1.7, 1.8),
            "bits_per_byte_train": measured(1.6, 1.5, 1.7),
            "bits_per_byte_old_token_bytes": measured(1.74, 1.69, 1.79),
            "rope_at_drop/without_minus_with": measured(0.1, 0.09, 0.11),
            "cloze_last_word": measured(0.5, 0.4, 0.6, "share of hidden words found among 4"),
        },
        sets=[read, {**read, "set": "rope_at_drop/with"}],
        cloze={"candidates": 4, "chance": 0.25},
        recovery={"drop_step": 140, "with_rope": 1.8, "sample_size": 500, "sample_unit": "bytes", "points": points},
        missing=[{"what": "cloze: 2 of 10 passages", "why": "too few documents"}],
    )
    card = republished(stage, tmp_path, "hf-base")
    assert "| bits per byte of rows it was trained on | 1.6000 | 1.5000 to 1.7000 | 400 bytes |" in card
    assert "| at the drop: what it is worth (bits per byte) | 0.1000 | 0.0900 to 0.1100 | 400 bytes |" in card
    assert "| cloze, last word by what precedes it | 50.0% | 40.0% to 60.0% |" in card
    assert "In the cloze task guessing finds 25%." in card
    assert "validation, forward: 8 rows, 21 documents, 120 tokens. Their intervals are bootstrapped over rows." in card
    assert "on 500 bytes: 1.8000 bits per byte with it, 1.9000 without it, 1.7500 after 140 steps without it" in card
    assert "**Missing:** cloze: 2 of 10 passages (too few documents)." in card
    scores = [result.metric_type for result in ModelCard(card).data.eval_results]
    assert scores == ["bits_per_byte", "cloze_last_word"]


def test_what_a_model_wrote_backward_is_shown_to_precede_its_prompt(stage: Any, tmp_path: Path) -> None:
    wrote = {"title": "Seed 42", "prompt": " is the end.", "answer": "and this", "reference": None, "way": "backward"}
    change_evaluation(stage.inputs["evaluation-base"], samples=[wrote])
    card = republished(stage, tmp_path, "hf-base")
    assert "```text\n is the end.\n```\n\nread from its end, is preceded by\n\n```text\nand this\n```" in card


def test_what_was_not_measured_beyond_the_trained_length_is_said_so(stage: Any, cards: dict[str, str]) -> None:
    assert "Not evaluated. Nothing was measured beyond 512 tokens" in cards["hf-sft"]


def write_long_context(folder: Path) -> None:
    """What the stage `long_context` leaves of 512 trained tokens."""
    folder.mkdir()
    bits = Measurement(value=2.0, unit="bits per byte", sample_size=900, sample_unit="bytes", interval=(1.9, 2.1))
    tables = Tables(
        positions=tuple(
            PositionRow(method="plain", factor=factor, first=first, end=first and 64, texts=2, result=bits)
            for factor in (1, 2)
            for first in (None, 0)
        ),
        rates=tuple(
            RateRow(
                method="plain", factor=2, kind="single", depth=depth, by="likelihood", chance=0.1, result=rate(1, 4)
            )
            for depth in (None, 0.5)
        ),
        scores=(),
    )
    missing = [{"what": "NoLiMa", "why": "no file of it is here"}]
    document = {
        "trained_length": 512,
        "logit_scale": {"c": 0.25, "T": 512, "fitted_on_texts": 16},
        "tables": tables.listing(),
        "missing": missing,
    }
    (folder / "long_context.json").write_text(json.dumps(document))
    (folder / "long_context.md").write_text("# Long context\n")


def test_results_beyond_the_trained_length_stand_side_by_side_with_what_is_missing(stage: Any, tmp_path: Path) -> None:
    write_long_context(tmp_path / "long")
    stage.inputs["long-evaluation-sft"] = tmp_path / "long"
    card = republished(stage, tmp_path, "hf-sft")
    assert "| measurement | method | 1x (512) | 2x (1,024) |" in card
    told = "2.0000 (1.9000 to 2.1000; 900 bytes)"
    assert f"| bits per byte | plain | {told} | {told} |" in card
    assert card.count("| needles: single, by likelihood | plain |  | 25.0% (4.6% to 69.9%; 4 trials) |") == 1
    assert "c = 0.2500 and T = 512, fitted on 16 held-out texts" in card
    assert "`model.config.logit_scale_coefficient = 0.2500` switches it on" in card
    assert "**Missing: NoLiMa (no file of it is here).**" in card
    assert (tmp_path / "hub" / "lab" / f"nanochat-{TAG}-sft" / "long_context.md").read_text() == "# Long context\n"
    assert "evaluated" not in card.split("## Limitations")[1].split("## ")[0]
    assert (
        "Beyond that it was not evaluated"
        in (tmp_path / "hub" / "lab" / f"nanochat-{TAG}-hf-base" / "README.md").read_text()
    )


def test_what_the_model_wrote_is_shown_as_it_wrote_it(stage: Any, tmp_path: Path) -> None:
    wrote = {
        "title": "chat",
        "prompt": "Show me a fence.",
        "answer": "Here:\n```python\nprint()\n```",
        "reference": "-",
    }
    change_evaluation(stage.inputs["evaluation-sft"], samples=[wrote, {**wrote, "prompt": "And one more."}, wrote])
    card = republished(stage, tmp_path, "hf-sft")
    assert f"````text\n{wrote['answer']}\n````" in card
    assert card.count("is answered by") == 2
    assert "What it writes" not in (tmp_path / "hub" / "lab" / f"nanochat-{TAG}-hf-base" / "README.md").read_text()


def test_what_to_cite_can_be_copied(cards: dict[str, str]) -> None:
    bibtex = cards["hf-sft"].split("```bibtex\n")[1].split("```")[0]
    entries = re.findall(r"^@misc\{(\w+),\n((?:  \w+ = \{.+\},?\n)+)\}$", bibtex, re.MULTILINE)
    assert [key for key, _ in entries] == ["nanochat", "muon", "roformer", "drope"]
    assert all({"title", "author", "year", "url"} <= set(re.findall(r"^  (\w+) =", body, re.M)) for _, body in entries)
    assert bibtex.count("{") == bibtex.count("}")
    assert "author = {Gelberg, Yoav and Eguchi, Koshi and Akiba, Takuya and Cetin, Edoardo}" in bibtex
    assert "arxiv.org/abs/2512.12167" in cards["hf-sft"]


def test_whoever_runs_no_code_of_a_repository_is_told_of_the_twin(cards: dict[str, str]) -> None:
    for phase in ("base", "sft"):
        assert f"miniseries export {TAG} --phase {phase} --layout twin --to FOLDER" in cards[f"hf-{phase}"]


def test_every_picture_stands_beside_the_card_and_is_told_in_words(published: Path) -> None:
    for repository in published.iterdir():
        pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", (repository / "README.md").read_text())
        assert {path for _, path in pictures} == {path.name for path in repository.glob("*.svg")}
        assert all(len(alternative) > 40 for alternative, _ in pictures)
        for _, path in pictures:
            ElementTree.parse(repository / path)


def test_a_dropped_model_shows_its_recovery_and_a_fine_tune_its_own_loss(published: Path) -> None:
    shown = {path.name for path in (published / f"nanochat-{TAG}-hf-sft").glob("*.svg")}
    assert shown == {"loss-base.svg", "loss-sft.svg", "recovery.svg", "lineage.svg"}
    assert "RoPE dropped" in (published / f"nanochat-{TAG}-base" / "loss-base.svg").read_text()
    assert not (published / f"nanochat-{TAG}-base" / "loss-sft.svg").exists()


def test_the_lineage_is_drawn_listed_and_published_with_the_same_keys(published: Path) -> None:
    repository = published / f"nanochat-{TAG}-hf-sft"
    card, drawn = (repository / "README.md").read_text(), (repository / "lineage.svg").read_text()
    stages = json.loads((repository / LINEAGE).read_text())["stages"]
    told = [stage for stage in stages if stage["kind"] not in ("questions", "export_native")]
    assert len(told) >= 10
    for stage in told:
        assert f"{stage['title']}: `{stage['key'][:12]}`" in card
        assert stage["key"][:12] in drawn


def test_a_base_shows_nothing_of_what_was_made_from_it(published: Path) -> None:
    stages = json.loads((published / f"nanochat-{TAG}-hf-base" / LINEAGE).read_text())["stages"]
    assert {stage["kind"] for stage in stages}.isdisjoint({"sft", "mixture", "publish"})


def test_the_card_says_how_to_make_the_model_again(cards: dict[str, str], published: Path) -> None:
    stages = json.loads((published / f"nanochat-{TAG}-hf-sft" / LINEAGE).read_text())["stages"]
    [tuned] = [stage for stage in stages if stage["kind"] == "sft"]
    assert f"git checkout {REVISION}" in cards["hf-sft"]
    assert f"miniseries export {TAG} --phase sft --layout hf --to again" in cards["hf-sft"]
    assert f"`miniseries verify lab/nanochat-{TAG}-hf-sft` compares" in cards["hf-sft"]
    assert f"store key is `{tuned['key']}`" in cards["hf-sft"]
    assert "uncommitted changes" not in cards["hf-sft"]


def test_uncommitted_changes_are_told(stage: Any, tmp_path: Path) -> None:
    stage.inputs["lineage"] = write_lineage(tmp_path / "dirty", TAG, {"dirty": True})
    assert "stages were made with uncommitted changes**" in republished(stage, tmp_path, "hf-base")


def test_cost_is_measured_and_estimated_by_stage(cards: dict[str, str]) -> None:
    card = cards["base"]
    row = "| pretrain tiny steps 0-70 | 8 x NVIDIA H100 | 143,360 | 5,423 | 2 h 0 min | 1 h 40 min |"
    assert row in card
    assert "That is 6.00 GPU-hours." in card
    assert "That is 8.00 GPU-hours." in cards["sft"]


def certify(folder: Path, check: Check) -> None:
    versions = {"transformers": "5.23.0"}
    certificate = Certificate(
        layout="hf", passed=True, versions=versions, difference="", checks=(check,), files=describe(folder)
    )
    certificate.write(folder)


def test_the_certificate_stands_with_its_bounds(stage: Any, tmp_path: Path) -> None:
    certify(stage.inputs["hf-base"], CHECK)
    said = "Both computed in float32, with the weights as the files hold them"
    row = "| logits of base prompts | yes | 3.1e-06 largest difference | at most 0.0001 | 512 positions |"
    card = republished(stage, tmp_path, "hf-base")
    assert row in card
    assert said in card
    assert row not in (tmp_path / "hub" / "lab" / f"nanochat-{TAG}-base" / "README.md").read_text()


def test_the_same_artifacts_give_the_same_files(stage: Any, published: Path, tmp_path: Path) -> None:
    stage.inputs["lineage"] = write_lineage(tmp_path / "again", TAG, {"host": "another", "started": 9e9})
    stage.run(url=str(tmp_path / "second"))
    files = [path for path in published.rglob("*") if path.is_file()]
    assert len(files) >= 4 * 8
    for path in files:
        assert (tmp_path / "second" / "lab" / path.relative_to(published)).read_bytes() == path.read_bytes()


def test_a_publication_without_lineage_says_that_nothing_was_recorded(stage: Any, tmp_path: Path) -> None:
    card = republished(stage, tmp_path, "hf-base")
    assert "The code revision and the store keys were not recorded." in card
    assert "Which text it read is not recorded" in card
