"""Words from a corpus: which, in what order, and which are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from core.posttraining.words import Words, collect_words, count_words, split_words
from core.stages.context import StageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat, the dog.", {"the": 2, "cat": 1, "dog": 1}),
        ("The CAT sat Down", {"sat": 1}),
        ("it is as big", {"big": 1}),
        ("don't can’t 'quoted' words", {"words": 1}),
        ("snake_case café x86 abc1 naïve plain", {"plain": 1}),
        ("sixteenletterswd seventeenlettersw", {"sixteenletterswd": 1}),
    ],
)
def test_a_word_is_three_to_sixteen_lowercase_ascii_letters_on_their_own(text: str, words: dict[str, int]) -> None:
    counts: Counter[str] = Counter()
    count_words([text], counts)
    assert counts == words


def test_words_are_ranked_by_frequency_then_alphabet_and_every_tenth_is_held_out() -> None:
    counts = Counter({"zebra": 9, "once": 1, **{f"w{letter}x": 2 for letter in "ihgfedcba"}})
    words = split_words(counts)
    assert words == Words(("zebra", *(f"w{letter}x" for letter in "abcdefgh")), ("wix",))


def test_words_come_from_training_shards_only(corpus_of: Callable[..., Path]) -> None:
    letters = "abcdefghijkl"
    folder = corpus_of(
        [" ".join(f"{letter}word" for letter in letters)],
        ["secret secret secret"],
        [" ".join(f"{letter}word" for letter in letters)],
        validation_shard=1,
    )
    words = collect_words(folder)
    assert sorted(words.training + words.validation) == [f"{letter}word" for letter in letters]
    assert words.validation == ("jword",)


def test_a_corpus_with_too_few_words_is_refused(corpus_of: Callable[..., Path]) -> None:
    with pytest.raises(StageError, match="hold 2 words seen 2 times"):
        collect_words(corpus_of(["cat dog cat dog bird"]))


def test_text_beyond_what_is_enough_is_not_read(
    corpus_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.posttraining.words.ENOUGH_CHARACTERS", 100)
    first = " ".join(f"{letter}word {letter}word" for letter in "abcdefghijkl")
    assert len(first) > 100
    words = collect_words(corpus_of([first], ["later later"]))
    assert "later" not in words.training + words.validation
