"""A manifest reads back as what was written, or not at all."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import StoreError
from artifacts.manifest import FileRecord, Manifest, seal

FILE = FileRecord(path="a/b.bin", bytes=3, sha256="0" * 64)
MANIFEST = Manifest(
    kind="pack",
    name="docs",
    key="1" * 64,
    stage_version=1,
    identity={"rows": 1, "share": 0.25},
    inputs={"corpus": "2" * 64},
    attempt="0001-deadbeef",
    token=1,
    files=(FILE,),
    metrics={"rows": 10},
    provenance={"host": "ä"},
)


def test_a_manifest_survives_its_encoding() -> None:
    assert Manifest.decode(MANIFEST.encode(), "manifest.json") == MANIFEST
    assert MANIFEST.encode() == MANIFEST.encode()
    assert MANIFEST.total_bytes == 3


@given(st.data())
def test_any_flipped_bit_is_noticed(data: Any) -> None:
    content = bytearray(MANIFEST.encode())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(StoreError):
        assert Manifest.decode(bytes(content), "manifest.json") == MANIFEST  # white space between the values changed


@pytest.mark.parametrize("path", ["../up", "/abs", "a//b", "a/./b", "", "a\\b", "a\nb", "a/.."])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    values = MANIFEST.to_json()
    values["files"][0]["path"] = path
    with pytest.raises(StoreError, match=r"files\.0\.path"):
        Manifest.decode(seal(values), "manifest.json")


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"extra": 1}, {"token": "1"}, {"files": [{}]}, {"metrics": []}, {"key": "short"}]
)
def test_what_does_not_fit_the_format_is_refused_in_one_line(change: dict[str, object]) -> None:
    with pytest.raises(StoreError, match=r"^here cannot be read: ") as caught:
        Manifest.decode(seal({**MANIFEST.to_json(), **change}), "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", json.dumps({"seal": 1}).encode(), b"\xff\xfe"])
def test_garbage_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Manifest.decode(content, "manifest.json")
