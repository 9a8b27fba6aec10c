"""Every trial has exactly the tokens it says, and every needle stands in it once, where it says."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_context_bench import some_texts

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.haystack import Haystack
from core.evaluation.long_context.needles import KINDS, Frame, Kind, NeedleTrials, TooShortError, Trial, make_puzzle
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

MERGES = ("The", " the", " of", " number", " is", "ing", " a", "er", "ou", "st")
TOKENIZER = Tokenizer(
    SPLIT_PATTERN,
    SPECIAL_TOKENS,
    {bytes([byte]): byte for byte in range(256)} | {merge.encode(): 256 + rank for rank, merge in enumerate(MERGES)},
)
BASE = Frame(before=(TOKENIZER.bos,), after=tuple(TOKENIZER.encode("\n")), asks=False)
CHAT = Frame(
    before=(TOKENIZER.bos, TOKENIZER.special("<|user_start|>")),
    after=(TOKENIZER.special("<|user_end|>"), TOKENIZER.special("<|assistant_start|>")),
    asks=True,
)
DEPTHS = 5


def maker(frame: Frame, seed: int, choices: int = 6) -> NeedleTrials:
    texts = [*some_texts([300, 200, 500]), "Ünïcödé – 日本語 text. " * 9]
    return NeedleTrials(
        tokenizer=TOKENIZER,
        frame=frame,
        held_out=Haystack.of_documents([TOKENIZER.encode_array(text) for text in texts], TOKENIZER),
        filler=Haystack.of_filler(TOKENIZER),
        room=160,
        choices=choices,
        depths=DEPTHS,
        seed=seed,
    )


@settings(max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.integers(500, 1600),
    st.integers(0, 50),
    st.integers(0, 9),
    st.sampled_from([BASE, CHAT]),
)
def test_needles_stand_once_at_their_depth_in_a_prompt_of_exact_length(
    kind: Kind, length: int, number: int, seed: int, frame: Frame
) -> None:
    made = maker(frame, seed)
    trial = made.trial(kind, length, number)
    prompt = trial.prompt
    assert len(prompt) == length - made.room
    assert prompt[: len(frame.before)] == frame.before
    assert prompt[len(prompt) - len(frame.after) :] == frame.after
    text = TOKENIZER.decode(prompt)
    assert len(trial.needles) == {"single": 1, "passkey": 1}.get(kind, 4)
    sentences = [TOKENIZER.encode(f"\n{needle.text}\n") for needle in trial.needles]
    for needle, sentence in zip(trial.needles, sentences, strict=True):
        assert text.count(needle.text) == 1
        assert list(prompt[needle.place : needle.place + len(sentence)]) == sentence
    question = sum(map(len, sentences)) + len(frame.before) + len(frame.after) + _question_tokens(trial, text, frame)
    hay, before = len(prompt) - question, len(frame.before)
    for index, needle in enumerate(trial.needles):
        in_front = needle.place - before - sum(map(len, sentences[:index]))
        assert in_front == int(needle.depth * hay)
    assert trial.depth in {needle.depth for needle in trial.needles}
    assert trial.depth == (number % DEPTHS) / (DEPTHS - 1)


def _question_tokens(trial: Trial, text: str, frame: Frame) -> int:
    """Those behind the last blank line of a prompt that asks."""
    if not frame.asks:
        return 0
    end = text.rindex("<|user_end|>")
    return len(TOKENIZER.encode(text[text.rindex("\n\n", 0, end) : end]))


@given(st.sampled_from(KINDS), st.integers(0, 1000), st.integers(2, 12))
def test_candidates_hold_what_is_wanted_once_and_as_many_wrong_ones_as_the_chance_says(
    kind: Kind, seed: int, choices: int
) -> None:
    puzzle = make_puzzle(kind, Random(seed), "A text in which 12345 and 54321 stand.", choices)
    for query in puzzle.queries:
        assert len(set(query.candidates)) == len(query.candidates) == choices + len(query.wanted) - 1
        assert set(query.wanted) <= set(query.candidates)
        assert not {"12345", "54321"} & set(query.candidates)
        for word in query.wanted:
            assert sum(word in needle for needle in puzzle.needles) == 1
    told = {word for word in " ".join(puzzle.needles).replace(".", " ").split() if word.isdigit()}
    if kind in ("multi-key", "multi-query") and choices > 4:
        assert all(told <= set(query.candidates) for query in puzzle.queries)  # the hard distractors
    assert len(puzzle.queries) == (4 if kind == "multi-query" else 1)
    assert len(puzzle.queries[0].wanted) == (4 if kind == "multi-value" else 1)


@pytest.mark.parametrize(
    ("kind", "chance"),
    [("single", 1 / 5), ("passkey", 1 / 5), ("multi-key", 1 / 5), ("multi-value", 1 / 70), ("multi-query", 1 / 625)],
)
def test_the_chance_of_guessing_is_that_of_choosing_blindly(kind: Kind, chance: float) -> None:
    assert maker(BASE, 0, choices=5).trial(kind, 800, 0).chance == pytest.approx(chance)


def test_a_trial_is_a_function_of_its_seed_kind_length_and_number() -> None:
    first = maker(BASE, 3).trial("multi-key", 700, 8)
    assert first == maker(BASE, 3).trial("multi-key", 700, 8)
    others = [maker(BASE, 4).trial("multi-key", 700, 8), maker(BASE, 3).trial("multi-key", 700, 9)]
    assert all(other.prompt != first.prompt for other in others)


def test_a_length_that_leaves_no_text_is_refused() -> None:
    with pytest.raises(TooShortError, match="leave no text"):
        maker(CHAT, 0).trial("multi-value", 250, 0)


def test_a_room_that_is_too_small_for_the_answer_is_refused() -> None:
    with pytest.raises(TooShortError, match="are left for it"):
        NeedleTrials(**{**vars(maker(CHAT, 0)), "room": 8}).trial("single", 500, 0)


def test_a_passage_begins_with_a_document_and_repeats_the_ring_when_that_ends() -> None:
    haystack = Haystack(np.arange(10), (0, 4))
    passages = {tuple(haystack.passage(Random(seed), 12).tolist()) for seed in range(9)}
    assert passages == {(*range(10), 0, 1), (4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5)}
