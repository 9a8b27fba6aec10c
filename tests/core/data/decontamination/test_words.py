"""Words and n-grams of any text against the plainest way to say what they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.data.decontamination.words import BOUNDARY, Words

texts = st.text(st.sampled_from("abAB éß0. ,-\n\t日本।ि\u0301\u200b\ud83d"), max_size=60) | st.text(max_size=60)


def plain_words(text: str) -> list[str]:
    """Word by word, character by character."""
    folded = text.casefold()
    folded = folded if folded.isascii() else unicodedata.normalize("NFC", folded)
    words = ("".join(letter for letter in word if unicodedata.category(letter)[0] in "LMN") for word in folded.split())
    return [word for word in words if word]


def joined(documents: list[str]) -> str:
    return "".join(f"{BOUNDARY}{document}" for document in documents)


@given(texts.filter(lambda text: BOUNDARY not in text))
@example("İSTANBUL 'İs' — don’t STOP")
def test_words_are_those_of_a_plain_split(text: str) -> None:
    words = Words.of(joined([text]))
    assert [words.text(index, 1) for index in range(len(words))] == plain_words(text)


@given(st.lists(st.text(st.sampled_from("ab .\n"), max_size=30), max_size=5), st.integers(1, 4))
def test_equal_hashes_are_equal_words_and_no_ngram_crosses_documents(documents: list[str], count: int) -> None:
    words = Words.of(joined(documents))
    first, hashes = words.ngrams(count)
    found = [(int(words.documents[word]), words.text(word, count)) for word in first.tolist()]
    expected = []
    for number, document in enumerate(documents):
        plain = plain_words(document)
        expected += [(number, " ".join(plain[at : at + count])) for at in range(len(plain) - count + 1)]
    assert found == expected
    by_hash = dict(zip(hashes.tolist(), (text for _, text in found), strict=True))
    assert [by_hash[value] for value in hashes.tolist()] == [text for _, text in found]
    assert len(by_hash) == len({text for _, text in found})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The cat, sat.", "the CAT sat"),
        ("It's “quoted” — twice", "its quoted   twice"),
        ("Élan vital", "élan\u00a0vital"),
        ("e\u0301lan vital", "élan VITAL!"),
        ("ΑΒΓ, δ", "αβγ δ"),
        ("2 + 3 = 5", "2 3 5"),
    ],
    ids=["case and punctuation", "typography", "no-break space", "decomposed", "greek", "symbols"],
)
def test_what_is_the_same_to_a_reader_has_the_same_hash(one: str, other: str) -> None:
    first, second = (Words.of(joined([text])) for text in (one, other))
    assert first.ngrams(len(first))[1].tolist() == second.ngrams(len(second))[1].tolist()


def test_the_hash_of_an_ngram_does_not_depend_on_where_it_stands() -> None:
    before = "x y " * 50_000
    near, far = Words.of(joined(["one two three"])), Words.of(joined([f"{before} one two three"]))
    assert far.ngrams(3)[1][-1] == near.ngrams(3)[1][0]


@pytest.mark.parametrize(("one", "other"), [("ab ba", "ba ab"), ("abc", "acb"), ("a b", "ab"), ("aa", "a")])
def test_order_and_length_matter(one: str, other: str) -> None:
    first, second = (Words.of(joined([f"{text} end"])) for text in (one, other))
    assert first.ngrams(2)[1].tolist() != second.ngrams(2)[1].tolist()
