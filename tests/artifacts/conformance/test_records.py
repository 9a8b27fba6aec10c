"""Records beside the artifacts, on each kind of store."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import BaseModel, Field

from artifacts.errors import StoreError
from artifacts.manifest import STRICT
from artifacts.store import Store

PATH = "calibration/a-device/0123456789ab-fp32.json"


class Speed(BaseModel):
    model_config = STRICT

    value: float
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)


def test_a_record_is_read_as_it_was_written_and_the_last_writer_counts(store: Store, backend: Any) -> None:
    assert store.records.read(PATH, Speed) is None
    for value in (1.5, 2.5):
        written = Speed(value=value)
        store.records.write(PATH, written)
        assert backend.open("elsewhere").records.read(PATH, Speed) == written
    assert store.contents().others == (PATH,)
    assert store.survey() == {}


def test_a_record_with_a_flipped_bit_is_refused_in_one_line_that_names_it(store: Store, backend: Any) -> None:
    store.records.write(PATH, Speed(value=1.5))
    content = backend.storage().read(PATH).content
    backend.overwrite(PATH, content.replace(b"1.5", b"9.5"))
    with pytest.raises(StoreError, match=f"{PATH} cannot be read: .*seal; delete that file"):
        store.records.read(PATH, Speed)
