"""Addresses name folders that are safe on every store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.address import Address
from artifacts.errors import StoreError

KEY = "0123456789ab" + "c" * 52


def test_the_folder_shows_kind_name_and_the_start_of_the_key() -> None:
    address = Address("pretrain", "d20_40tpp-000000-004181", KEY)
    assert address.folder == str(address) == "pretrain/d20_40tpp-000000-004181-0123456789ab"


@given(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,30}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)
def test_a_folder_parses_back_to_the_address_with_its_key_cut(kind: str, name: str, key: str) -> None:
    address = Address(kind, name, key)
    assert Address.parse(address.folder) == Address(kind, name, key[:12])


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("../up", "name", KEY),
        ("Kind", "name", KEY),
        ("kind", "a/b", KEY),
        ("kind", "..", KEY),
        ("kind", "", KEY),
        ("kind", "a\nb", KEY),
        ("kind", "name", "short"),
        ("kind", "name", KEY.upper()),
    ],
)
def test_what_could_escape_a_store_is_refused(kind: str, name: str, key: str) -> None:
    with pytest.raises(StoreError, match="cannot be the"):
        Address(kind, name, key)


@pytest.mark.parametrize("folder", ["store.json", "hub/someone/model", "pack/name", "pack/name-0123", ".store/staging"])
def test_other_folders_are_no_artifacts(folder: str) -> None:
    assert Address.parse(folder) is None
