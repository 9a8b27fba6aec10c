"""What is read is what was committed: a flipped byte, a short file, a missing file or manifest is found and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.errors import ArtifactDamaged, ArtifactMissing
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store

Hold = Callable[..., HeldLease]
Make = Callable[..., Manifest]
CONTENT = b"the quick brown fox" * 100
FLIPPED = b"The quick brown fox" + CONTENT[19:]


def test_a_flipped_byte_is_noticed_marked_and_mended_by_making_it_again(
    store: Store, address: Address, hold: Hold, make: Make, backend: Any
) -> None:
    first = make(store, address, {"rows.bin": CONTENT, "rows.json": b"{}"})
    store.fetch(address)
    backend.overwrite(f"{address.folder}/files/{first.attempt}/rows.bin", FLIPPED)
    reader = backend.open("a reader with an empty cache")
    with pytest.raises(ArtifactDamaged) as caught:
        reader.fetch(address)
    line = str(caught.value)
    assert "\n" not in line
    for part in (address.folder, "rows.bin", first.files[0].sha256, "miniseries verify", "miniseries run"):
        assert part in line
    assert [damage.file for damage in caught.value.damages] == ["rows.bin"]
    assert store.survey()[address.folder].damaged
    assert not store.is_whole(address)
    assert [damage.file for damage in store.verify(address)] == ["rows.bin"]

    lease = hold(store, address)
    store.discard(address, lease)
    assert not store.survey()[address.folder].committed
    lease.release()
    second = make(store, address, {"rows.bin": CONTENT, "rows.json": b"{}"})
    assert second.files == first.files
    assert (reader.fetch(address) / "rows.bin").read_bytes() == CONTENT
    assert not store.survey()[address.folder].damaged
    assert store.verify(address) == []
    assert not [name for name in backend.names() if first.attempt in name]


def test_one_file_is_read_without_the_others_and_checked(
    store: Store, address: Address, make: Make, backend: Any
) -> None:
    manifest = make(store, address, {"rows.bin": CONTENT, "rows.json": b"{}"})
    backend.overwrite(f"{address.folder}/files/{manifest.attempt}/rows.bin", FLIPPED)
    reader = backend.open("a reader with an empty cache")
    assert reader.read_file(manifest, "rows.json") == b"{}"
    with pytest.raises(ArtifactMissing, match=r"has no file rows\.txt"):
        reader.read_file(manifest, "rows.txt")
    with pytest.raises(ArtifactDamaged, match=r"rows\.bin"):
        reader.read_file(manifest, "rows.bin")
    assert not store.is_whole(address)


def test_a_byte_flipped_after_use_is_noticed_at_a_glance(
    store: Store, address: Address, make: Make, backend: Any
) -> None:
    manifest = make(store, address, {"rows.bin": CONTENT})
    assert store.is_whole(address)
    backend.overwrite(f"{address.folder}/files/{manifest.attempt}/rows.bin", FLIPPED)
    assert not store.is_whole(address)


def test_damage_is_told_once_before_the_artifact_is_to_be_made_again(
    store: Store, address: Address, make: Make, backend: Any
) -> None:
    manifest = make(store, address, {"rows.bin": CONTENT})
    assert store.whole_manifest(address) == manifest
    backend.overwrite(f"{address.folder}/files/{manifest.attempt}/rows.bin", CONTENT[:-1])
    with pytest.raises(ArtifactDamaged, match=address.folder):
        store.whole_manifest(address)
    assert store.whole_manifest(address) is None


@pytest.mark.parametrize("problem", ["truncated", "missing"])
def test_a_short_or_missing_file_is_noticed_without_hashing_it(
    store: Store, address: Address, make: Make, backend: Any, problem: str
) -> None:
    path = f"{address.folder}/files/{make(store, address, {'rows.bin': CONTENT, 'b': b''}).attempt}/rows.bin"
    if problem == "truncated":
        backend.overwrite(path, CONTENT[:-1])
    else:
        backend.remove(path)
    elsewhere = backend.open("elsewhere")
    assert not elsewhere.is_whole(address)
    with pytest.raises(ArtifactDamaged, match="1,899" if problem == "truncated" else "missing"):
        elsewhere.fetch(address)
    assert len(elsewhere.verify(address)) == 1


def test_an_artifact_that_is_whole_again_loses_its_mark(
    store: Store, address: Address, make: Make, backend: Any
) -> None:
    path = f"{address.folder}/files/{make(store, address, {'rows.bin': CONTENT}).attempt}/rows.bin"
    backend.overwrite(path, FLIPPED)
    assert len(store.verify(address)) == 1
    assert store.survey()[address.folder].damaged
    backend.overwrite(path, CONTENT)
    assert store.verify(address) == []
    assert store.is_whole(address)


@pytest.mark.parametrize("change", [b'"rows": 2', b'"kind": "pack"'])
def test_any_change_to_a_manifest_makes_the_artifact_damaged(
    store: Store, address: Address, hold: Hold, make: Make, backend: Any, change: bytes
) -> None:
    content = make(store, address, {"rows.bin": CONTENT}).encode()
    assert change in content
    backend.overwrite(
        f"{address.folder}/manifest.json", content.replace(change, change.replace(b"pack", b"pick")[:-1] + b"9")
    )
    with pytest.raises(ArtifactDamaged, match=r"manifest\.json"):
        store.fetch(address)
    assert not store.is_whole(address)
    assert [damage.file for damage in store.verify(address)] == ["manifest.json"]
    lease = hold(store, address)
    store.discard(address, lease)
    lease.release()
    make(store, address, {"rows.bin": CONTENT})
    assert store.is_whole(address)


def test_a_whole_artifact_is_not_discarded(store: Store, address: Address, hold: Hold, make: Make) -> None:
    make(store, address, {"rows.bin": CONTENT})
    lease = hold(store, address)
    store.discard(address, lease)
    lease.release()
    assert (store.fetch(address) / "rows.bin").read_bytes() == CONTENT
