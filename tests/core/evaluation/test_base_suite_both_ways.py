"""The base suite on a model that reads in both directions: a number for each, and samples that read as text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.data.direction import readings
from core.data.rows import Rows, RowsWriter
from core.data.tokenizer import Tokenizer
from core.evaluation.base_suite import PROMPTS
from core.evaluation.bits_per_byte import bits_per_byte
from core.inference.generate import generate
from core.inference.sampling import Sampling
from core.model.checkpoint import load_model, load_state, save
from core.model.transformer import Transformer
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

if TYPE_CHECKING:
    from conftest import Workplace

CONTEXT = 96
TEXTS = ["The first of a few texts to read. " * 3, "Another text, not the same, and longer. " * 3]


@pytest.fixture
def both_ways(workplace: Workplace) -> Workplace:
    """A toy model of both directions with its eleven special tokens, in the same folders."""
    tokenizer = Tokenizer(
        SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), {bytes([byte]): byte for byte in range(256)}
    )
    tokenizer.save(workplace.root / "tokenizer")
    state = load_state(workplace.root / "model")
    architecture = replace(state.architecture, vocabulary_size=tokenizer.vocabulary_size)
    model = Transformer(architecture, use_rope=False)
    model.initialize(seed=5)
    weights = {**model.state_dict(), "lm_head.weight": model.state_dict()["transformer.wte.weight"] * 0.1}
    changed = replace(state, phase="base", direction="bidirectional", architecture=architecture)
    save(workplace.root / "model", changed, weights)
    return replace(workplace, tokenizer=tokenizer, model=load_model(workplace.root / "model"))


@pytest.fixture
def validation(both_ways: Workplace, tmp_path: Path) -> Path:
    """One row a text, in both directions."""
    folder = tmp_path / "each"
    folder.mkdir()
    for way, reading in readings("bidirectional", both_ways.tokenizer).items():
        with RowsWriter(folder, f"{way}.rows", CONTEXT + 1, both_ways.tokenizer.vocabulary_size) as writer:
            for text in TEXTS:
                sequence = reading.sequence(both_ways.tokenizer.encode_array(text))
                writer.append(sequence[: CONTEXT + 1])
    return folder


@pytest.fixture
def training(both_ways: Workplace, tmp_path: Path) -> Path:
    """Rows of both directions, one text each."""
    folder = tmp_path / "stream"
    folder.mkdir()
    ahead, behind = readings("bidirectional", both_ways.tokenizer).values()
    with RowsWriter(folder, "rows", CONTEXT + 1, both_ways.tokenizer.vocabulary_size) as writer:
        for number, reading in enumerate((ahead, behind, ahead, behind, ahead)):
            text = f"Text number {number} that was read while training. " * 3
            writer.append(reading.sequence(both_ways.tokenizer.encode_array(text))[: CONTEXT + 1])
    return folder


def test_bits_per_byte_are_reported_for_each_direction_and_for_all_bytes(
    both_ways: Workplace, validation: Path, training: Path
) -> None:
    folder, metrics = both_ways.evaluate(validation, "base", further={"train": training})
    token_bytes = both_ways.tokenizer.token_bytes
    for way in ("forward", "backward"):
        expected = bits_per_byte(both_ways.model, Rows.open(validation, f"{way}.rows")[:], token_bytes)
        assert metrics[f"bits_per_byte_{way}"] == pytest.approx(expected)
    assert metrics["bits_per_byte_forward"] != pytest.approx(metrics["bits_per_byte_backward"], rel=1e-6)
    results = json.loads((folder / "evaluation.json").read_text())["results"]
    sizes = {name: one["sample_size"] for name, one in results.items()}
    bytes_each = sum(CONTEXT - 1 for _ in TEXTS)  # without the direction token
    assert {name: size for name, size in sizes.items() if "train" not in name} == {
        "bits_per_byte": 2 * bytes_each,
        "bits_per_byte_forward": bytes_each,
        "bits_per_byte_backward": bytes_each,
    }
    assert metrics["bits_per_byte"] == pytest.approx(
        (metrics["bits_per_byte_forward"] + metrics["bits_per_byte_backward"]) / 2
    )


def test_as_many_training_rows_are_read_as_held_out_ones_of_both_directions(
    both_ways: Workplace, validation: Path, training: Path
) -> None:
    folder, metrics = both_ways.evaluate(validation, "base", further={"train": training})
    read = {(one["set"], one["way"]): one for one in json.loads((folder / "evaluation.json").read_text())["sets"]}
    assert {name: one["rows"] for name, one in read.items()} == {
        ("validation", "forward"): 2,
        ("validation", "backward"): 2,
        ("train", "mixed"): 4,
    }
    assert read["train", "mixed"]["documents"] == 4
    expected = bits_per_byte(both_ways.model, Rows.open(training)[:4], both_ways.tokenizer.token_bytes)
    assert metrics["bits_per_byte_train"] == pytest.approx(expected)


def test_what_is_written_backward_is_shown_as_the_text_before_the_prompt(
    both_ways: Workplace, validation: Path, training: Path
) -> None:
    folder, _ = both_ways.evaluate(validation, "base", samples=2, further={"train": training})
    forward, backward = json.loads((folder / "evaluation.json").read_text())["samples"]
    assert (forward["way"], backward["way"]) == ("forward", "backward")
    assert forward["prompt"] == backward["prompt"] == PROMPTS[0]
    assert "backward" in backward["title"]
    tokenizer = both_ways.tokenizer
    prompt = [tokenizer.bos, tokenizer.special("<|backward|>"), *tokenizer.encode(PROMPTS[0])[::-1]]
    sampling = Sampling(max_tokens=10, temperature=0.8, top_k=50, seed=43)
    ids = generate(both_ways.model, [prompt], sampling, stop_tokens={tokenizer.bos}, context_tokens=CONTEXT)[0]
    assert len(ids) > 1
    assert backward["answer"] == tokenizer.decode(ids[::-1])
