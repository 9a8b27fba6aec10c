"""The cloze task: passages drawn from held-out text, words scored one way as another way of computing scores them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
import torch
from toy_models import toy_transformer

from core.data.tokenizer import Tokenizer
from core.evaluation.cloze import CHANCE, GAP, cloze_trials
from core.evaluation.cloze_passages import CANDIDATES, PASSAGE_CHARACTERS, Passage, draw_passages
from core.evaluation.measurement import wilson_interval
from core.evaluation.subject import Subject
from core.model.checkpoint import ModelState, load_state, save
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN

if TYPE_CHECKING:
    from conftest import Workplace

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = ["Rows to measure on, which are of no interest here."]


def documents(count: int) -> list[str]:
    """Sentences of made-up words, with some that are no words in between."""
    random = Random(3)

    def word() -> str:
        return "".join(random.choices(LETTERS, k=random.choice((2, 4, 5, 6))))

    return [" ".join(word() + random.choice(("", "", "", ",", ".", " 12")) for _ in range(80)) for _ in range(count)]


@pytest.fixture
def corpus(workplace: Workplace) -> Path:
    return workplace.corpus(documents(20))


@pytest.fixture
def passages(corpus: Path) -> list[Passage]:
    return draw_passages(corpus, 0, 12, seed=5)


def subject_of(workplace: Workplace, direction: str) -> Subject:
    """A toy model that reads documents of the given direction, with direction tokens."""
    tokenizer = Tokenizer(SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), workplace.tokenizer.ranks)
    architecture = replace(workplace.model.architecture, vocabulary_size=tokenizer.vocabulary_size)
    model = toy_transformer(architecture, use_rope=False).eval()
    state: ModelState = replace(
        load_state(workplace.root / "model"), direction=direction, phase="base", architecture=architecture
    )
    return Subject(model, state, tokenizer)


def test_passages_run_from_word_to_word_of_a_document_one_each(corpus: Path, passages: list[Passage]) -> None:
    texts = documents(20)
    assert len(passages) == 12
    assert len({passage.document for passage in passages}) == 12
    for passage in passages:
        assert f" {passage.text} " in texts[passage.document]
        assert PASSAGE_CHARACTERS[0] <= len(passage.text) <= PASSAGE_CHARACTERS[1]
        words = passage.text.split(" ")
        for hidden, word in ((passage.first, words[0]), (passage.last, words[-1])):
            assert hidden.candidates[hidden.right] == word
            assert len({candidate.lower() for candidate in hidden.candidates}) == CANDIDATES
            assert {len(candidate) for candidate in hidden.candidates} == {len(word)}
    assert len({passage.last.right for passage in passages}) > 1
    assert draw_passages(corpus, 0, 12, seed=5) == passages
    assert draw_passages(corpus, 0, 12, seed=6) != passages


def by_hand(subject: Subject, before: list[int], word: list[int]) -> float:
    """Sum of the log-probabilities of a word's ids: one text at a time, nothing padded or left out."""
    with torch.no_grad():
        likely = subject.model(torch.tensor([[*before, *word]]))[0].double().log_softmax(dim=-1)
    return sum(likely[len(before) - 1 + number, token].item() for number, token in enumerate(word))


def test_a_word_is_scored_by_what_precedes_it_and_backward_by_what_follows_it(
    workplace: Workplace, passages: list[Passage]
) -> None:
    subject = subject_of(workplace, "bidirectional")
    subject = replace(subject, state=replace(subject.state, sequence_length=1000))
    tokenizer = subject.tokenizer
    opening = {
        way: [tokenizer.bos, tokenizer.special(name)]
        for way, name in zip(("forward", "backward"), DIRECTION_TOKENS, strict=True)
    }
    trials = cloze_trials(subject, passages[:1])
    assert [(trial.way, trial.passage) for trial in trials] == [("forward", 0), ("backward", 0)]
    for trial in trials:
        before, after = (tokenizer.encode(part) for part in (trial.text.split(GAP)))
        for candidate, found in zip(trial.candidates, trial.log_likelihoods, strict=True):
            if trial.way == "forward":
                assert not after
                given, word = tokenizer.encode(trial.text[: -len(GAP) - 1]), tokenizer.encode(f" {candidate}")
            else:
                assert not before
                given, word = after[::-1], tokenizer.encode(f" {candidate}")[::-1]
            assert found == pytest.approx(by_hand(subject, [*opening[trial.way], *given], word), abs=1e-4)
        assert trial.chosen == trial.log_likelihoods.index(max(trial.log_likelihoods))
        assert trial.correct == (trial.chosen == trial.right)


def test_what_does_not_fit_the_context_keeps_the_part_beside_the_gap(
    workplace: Workplace, passages: list[Passage]
) -> None:
    subject = subject_of(workplace, "backward")
    assert subject.state.sequence_length < PASSAGE_CHARACTERS[0]
    (trial,) = cloze_trials(subject, passages[:1])
    word = trial.candidates[0]
    room = subject.state.sequence_length + 1 - 2 - len(f" {word}")
    after = subject.tokenizer.encode(trial.text.removeprefix(GAP))[:room]
    opening = [subject.tokenizer.bos, subject.tokenizer.special(DIRECTION_TOKENS[1])]
    expected = by_hand(subject, [*opening, *after[::-1]], subject.tokenizer.encode(f" {word}")[::-1])
    assert trial.log_likelihoods[0] == pytest.approx(expected, abs=1e-4)


def test_the_share_of_words_found_follows_from_the_lines_and_guessing_is_told(
    workplace: Workplace, corpus: Path
) -> None:
    assert corpus.is_dir()
    folder, metrics = workplace.evaluate(workplace.pack(TEXTS), "base", passages=12)
    lines = [json.loads(line) for line in (folder / "cloze.jsonl").read_text().splitlines()]
    right = sum(line["correct"] for line in lines)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    result = evaluation["results"]["cloze_last_word"]
    assert metrics["cloze_last_word"] == result["value"] == right / 12
    assert tuple(result["interval"]) == wilson_interval(right, 12)
    assert result["sample_size"] == len(lines) == 12
    assert evaluation["cloze"] == {"candidates": CANDIDATES, "chance": CHANCE}
    assert evaluation["missing"] == []
    assert "cloze_first_word" not in metrics


def test_passages_that_the_text_does_not_have_are_missing_and_no_zero(workplace: Workplace) -> None:
    workplace.corpus([*documents(3), "Too short to hide a word in."])
    folder, _ = workplace.evaluate(workplace.pack(TEXTS), "base", passages=5)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["results"]["cloze_last_word"]["sample_size"] == 3
    why = "so few held-out documents have a passage with words to hide"
    assert {"what": "cloze: 2 of 5 passages", "why": why} in evaluation["missing"]
    none, metrics = workplace.evaluate(workplace.root / "pack", "base")
    assert "cloze_last_word" not in metrics
    assert (none / "cloze.jsonl").read_text() == ""
    assert "evaluation.cloze_passages" in (none / "samples.md").read_text()


def test_a_model_that_only_reads_backward_is_measured_sampled_and_asked_backward(workplace: Workplace) -> None:
    workplace.corpus(documents(6))
    subject = subject_of(workplace, "backward")
    subject.tokenizer.save(workplace.root / "tokenizer")
    save(workplace.root / "model", subject.state, subject.model.state_dict())
    backward = replace(workplace, tokenizer=subject.tokenizer)
    folder, metrics = backward.evaluate(backward.pack(TEXTS), "base", passages=6, samples=2)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert {one["way"] for one in evaluation["sets"]} == {"backward"}
    assert [sample["way"] for sample in evaluation["samples"]] == ["backward", "backward"]
    assert "cloze_first_word" in metrics
    assert "cloze_last_word" not in metrics
