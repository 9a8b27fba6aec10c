"""Which held-out documents are read: whole ones while there are any, by a seed, none for two purposes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.data.direction import Reading
from core.evaluation.long_context.documents import HeldOutDocuments

BOS = 1000
FORWARD = Reading((BOS,), 1)


def documents_of(lengths: list[int], seed: int) -> HeldOutDocuments:
    """Documents whose tokens say where they come from."""
    tokens = [np.full(length, row, np.uint32) for row, length in enumerate(lengths)]
    return HeldOutDocuments(tokens, np.random.default_rng(seed).permutation(len(tokens)).tolist())


LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(0, 3), st.integers(2, 50), st.integers(1, 6))
def test_texts_are_whole_documents_and_only_then_joined_ones(
    lengths: list[int], seed: int, length: int, count: int
) -> None:
    documents = documents_of(lengths, seed)
    texts = documents.texts("measuring", FORWARD, length, count)
    enough = [row for row in documents.of("measuring") if lengths[row] >= length]
    assert sum(text.is_whole for text in texts) >= min(count, len(enough))
    assert len(texts) <= count
    used = [row for text in texts for row in text.documents]
    assert len(used) == len(set(used))
    for text in texts:
        assert text.tokens.shape == (length + 1,)
        expected = np.concatenate([[BOS, *[row] * lengths[row]] for row in text.documents])
        assert text.tokens.tolist() == expected[: length + 1].tolist()
        assert text.listing() == {"documents": list(text.documents), "concatenated": len(text.documents) > 1}


@given(LENGTHS, st.integers(0, 3))
def test_what_is_fitted_on_is_never_measured_on(lengths: list[int], seed: int) -> None:
    documents = documents_of(lengths, seed)
    measuring, fitting = documents.of("measuring"), documents.of("fitting")
    assert not set(measuring) & set(fitting)
    assert sorted([*measuring, *fitting]) == [row for row, length in enumerate(lengths) if length]
    assert (measuring, fitting) == (documents_of(lengths, seed).of("measuring"), documents.of("fitting"))


def test_another_seed_reads_other_documents() -> None:
    chosen = {documents_of([50] * 30, seed).texts("measuring", FORWARD, 40, 3)[0].documents for seed in range(6)}
    assert len(chosen) > 1


def test_a_model_that_reads_backward_reads_documents_from_their_end() -> None:
    documents = HeldOutDocuments([np.arange(10, dtype=np.uint32)], [0])
    (text,) = documents.texts("measuring", Reading((BOS, BOS + 1), -1), 6, 1)
    assert text.tokens.tolist() == [BOS, BOS + 1, 9, 8, 7, 6, 5]
