"""Paragraphs: long ones are kept once, short ones may repeat, passages lose nothing but blank lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.data.corpus.paragraphs import Unseen, passages

LONG = "This paragraph is long enough to be recognised wherever it returns."
OTHER = "Another paragraph, quite as long, that nobody has written down before now."


def test_a_long_paragraph_is_kept_once_however_it_is_wrapped_or_capitalised() -> None:
    unseen = Unseen()
    assert unseen.keep(LONG) == LONG
    assert unseen.keep(LONG.upper().replace(" ", "\n   ", 3)) == ""


def test_the_unseen_half_of_a_text_is_kept_without_the_rest() -> None:
    unseen = Unseen()
    unseen.keep(LONG)
    assert unseen.keep(f"{OTHER}\n\n{LONG}") == OTHER


def test_a_text_that_is_mostly_known_is_dropped_and_not_remembered() -> None:
    unseen = Unseen()
    unseen.keep(f"{LONG}\n\n{LONG} Again.")
    assert unseen.keep(f"{LONG}\n\n{LONG} Again.\n\n{OTHER}") == ""
    assert unseen.keep(OTHER) == OTHER


def test_short_paragraphs_may_repeat() -> None:
    unseen = Unseen()
    assert unseen.keep("Example:") == unseen.keep("Example:") == "Example:"


def test_passages_are_cut_at_blank_lines_and_dedented() -> None:
    text = "    one\n    two\n\n        three\n\n    four"
    assert list(passages(text, longest=30)) == ["one\ntwo\n\n    three", "four"]
    assert list(passages(text, longest=29)) == ["one\ntwo", "    three\n\nfour"]


@given(st.lists(st.text("ab c", min_size=1).map(str.strip).filter(bool), max_size=12), st.integers(1, 40))
def test_passages_hold_every_paragraph_and_exceed_the_limit_only_for_a_single_one(
    paragraphs: list[str], longest: int
) -> None:
    cut = list(passages("\n\n".join(paragraphs), longest))
    assert [paragraph for passage in cut for paragraph in passage.split("\n\n")] == paragraphs
    assert all(len(passage) <= longest or "\n\n" not in passage for passage in cut)
