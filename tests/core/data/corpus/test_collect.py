"""Collecting: the range of shards is checked before anything is fetched, and progress is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.data.corpus import collect
from core.stages.context import StageError
from core.stages.identity import CorpusIdentity
from core.stages.report import parse


@pytest.mark.parametrize(("first", "end"), [(0, 10), (3, 3), (-1, 2), (9, 8)])
def test_a_range_outside_the_source_is_refused(make: Callable, first: int, end: int) -> None:
    with pytest.raises(StageError, match=r"python-docs has shards 0 to 8; \[-?\d, \d+\) is no range of them"):
        make(collect, CorpusIdentity(source="python-docs", revision="any", first_shard=first, end_shard=end))


def test_an_unknown_source_is_named_with_the_known_ones(make: Callable) -> None:
    with pytest.raises(StageError, match=r"'the-pile'; known are python-docs, climbmix, fineweb-edu, files:\.\.\."):
        make(collect, CorpusIdentity(source="the-pile", revision="any", first_shard=0, end_shard=1))


def test_progress_ends_with_all_shards(docs: Any) -> None:
    last = parse(docs.log.splitlines()[-1])
    assert last is not None
    assert (last.done, last.total, last.unit) == (9, 9, "shards")
