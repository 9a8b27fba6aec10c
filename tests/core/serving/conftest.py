"""One server for most tests: three chat models and a base model of both directions, none of which was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from reciting import COFFEE, ENDLESS, LETTERS, SUM, reciter
from serving import Running, serving

from core.chat.text_model import TextModel

Models = Mapping[str, TextModel]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """By name."""
    folder = tmp_path_factory.mktemp("models")
    made = [
        reciter(folder, "sums", SUM),
        reciter(folder, "letters", ENDLESS),
        reciter(folder, "coffee", COFFEE),
        reciter(folder, "short", ENDLESS, context=64),
        reciter(folder, "both_ways", LETTERS, direction="bidirectional"),
    ]
    return {model.name: model for model in made}


@pytest.fixture(scope="session")
def server(models: Models) -> Iterator[Running]:
    """A server with the default limits and no key."""
    with serving(list(models.values())) as running:
        yield running
