"""The page of samples shows text as it is."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.samples import Sample, fenced, samples_page


@given(st.text("`a\n~", max_size=20))
def test_no_text_closes_its_own_code_block(text: str) -> None:
    block = fenced(text)
    fence = re.match(r"`+", block).group()
    assert block == f"{fence}text\n{text}\n{fence}"
    assert len(fence) >= 3
    assert fence not in text


def test_a_page_numbers_its_samples_and_shows_what_was_wanted_where_that_is_known() -> None:
    page = samples_page(
        "Samples",
        "Greedy.",
        [Sample(title="one", prompt="p1", answer="a1"), Sample(title="two", prompt="p2", answer="a2", reference="r2")],
    )
    assert re.findall(r"^#+ .*$", page, re.MULTILINE) == ["# Samples", "## 1. one", "## 2. two"]
    assert [text in page for text in ("p1", "a1", "p2", "a2", "r2")] == [True] * 5
    assert page.count("wanted:") == 1
