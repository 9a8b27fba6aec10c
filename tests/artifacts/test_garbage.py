"""Nothing that is reached is ever deleted, and a deletion that dies at any operation leaves a store that verifies."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.address import Address
from artifacts.errors import StoreUnavailable
from artifacts.folder import FolderStorage
from artifacts.garbage.closure import closure
from artifacts.garbage.tombstone import Tombstone
from artifacts.garbage.trash import Trash
from artifacts.lease import HeldLease, Leases
from artifacts.manifest import Manifest
from artifacts.storage import Listed, Storage, Versioned
from artifacts.store import Store

TTL = 60.0


class Dying:
    """A storage whose process dies before its operation number `last`, and does nothing any more."""

    def __init__(self, storage: Storage, last: int) -> None:
        self.url = storage.url
        self.died = False
        self._storage = storage
        self._left = last

    def _live(self) -> Storage:
        self._left -= 1
        self.died = self.died or self._left < 0
        if self.died:
            raise StoreUnavailable("the process died")
        return self._storage

    def read(self, path: str) -> Versioned | None:
        return self._live().read(path)

    def create(self, path: str, content: bytes) -> str | None:
        return self._live().create(path, content)

    def replace(self, path: str, content: bytes, version: str) -> str | None:
        return self._live().replace(path, content, version)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:  # one by one, so that it can die between two
            self._live().delete([path])

    def listing(self, prefix: str) -> list[Listed]:
        return self._live().listing(prefix)

    def upload(self, source: Path, path: str) -> None:
        self._live().upload(source, path)

    def download(self, path: str, target: Path, size: int) -> bool:
        return self._live().download(path, target, size)

    def local(self, path: str) -> Path | None:
        return self._storage.local(path)


class LaterClock:
    """Long after every lease has expired."""

    def wall(self) -> float:
        return 4e12

    def monotonic(self) -> float:
        return 4e12


def test_a_deletion_that_dies_at_any_operation_leaves_whole_artifacts_and_is_finished_by_the_next(
    tmp_path: Path, make: Callable[..., Manifest]
) -> None:
    for last in itertools.count():
        root = tmp_path / str(last)
        store = Store.open(str(root / "store"), root / "cache")
        doomed, kept = Address("pack", "doomed", "a" * 64), Address("pack", "kept", "b" * 64)
        for address in (doomed, kept):
            make(store, address, {"rows": b"rows", "more": b"more"})
        storage = FolderStorage(root / "store", store.url)
        storage.create(f"{doomed.folder}/progress/00000001-1/checkpoint.json", b"{}")
        stone = Tombstone(
            folder=doomed.folder, what="artifact", seen=tuple(store.census().holdings[doomed.folder].names)
        )
        store.trash.mark([stone])

        dying = Dying(storage, last)
        try:
            Trash(dying, Leases(dying)).delete([stone], TTL, lambda _: None)
        except StoreUnavailable:
            assert dying.died
        for address in store.addresses():
            assert store.verify(address) == [], f"it died at operation {last}"
        assert store.manifest(kept) is not None

        stones = list(store.trash.tombstones().values())
        assert stones or store.manifest(doomed) is None
        done = Trash(storage, Leases(storage, LaterClock())).delete(stones, TTL, lambda _: None)
        assert done.gone == [stone.folder for stone in stones]
        assert list(store.census().holdings[doomed.folder].objects) == []
        if not dying.died:
            break
    assert last > 10


def commit(store: Store, address: Address, inputs: dict[str, str], observed: dict[str, str]) -> None:
    lease = store.leases.acquire(address, "test", TTL)
    assert isinstance(lease, HeldLease)
    with store.attempt(address, lease) as attempt:
        (attempt.output / "bytes").write_bytes(address.key.encode())
        provenance = {"observed": observed}
        attempt.commit(stage_version=1, identity={}, inputs=inputs, metrics={}, provenance=provenance)
    lease.release()


graphs = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        st.lists(st.sets(st.integers(0, count - 1)), min_size=count, max_size=count),  # inputs, of earlier ones only
        st.sets(st.integers(0, count - 1)),  # roots
        st.sets(st.integers(0, count - 1)),  # never made, or collected long ago
    )
)


@settings(max_examples=25)
@given(graphs)
def test_exactly_what_no_root_was_made_from_is_deleted(
    graph: tuple[list[set[int]], set[int], set[int]],
) -> None:
    needs, roots, missing = graph
    addresses = [Address("pack", f"artifact-{index}", f"{index:x}" * 64) for index in range(len(needs))]
    there = [index for index in range(len(needs)) if index not in missing]

    def behind(index: int) -> set[int]:
        """Through what is there: a manifest that is gone tells nothing."""
        further = needs[index] if index in there else set()
        return {index}.union(*(behind(need) for need in further if need < index))

    reached = set[int]().union(*(behind(root) for root in roots))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"{folder}/store", Path(folder) / "cache")
        for index in there:
            keys = {f"role-{need}": addresses[need].key for need in needs[index] if need < index}
            observed = {role: key for role, key in keys.items() if int(role[-1]) % 2}
            inputs = {role: key for role, key in keys.items() if role not in observed}
            commit(store, addresses[index], inputs, observed)
        census = store.census()
        found = closure({addresses[root].folder: "a test" for root in roots}, census, store.manifest)
        assert found.unknown == ()
        stones = [
            Tombstone(folder=path, what="artifact", seen=tuple(holding.names))
            for path, holding in census.holdings.items()
            if path not in found.folders
        ]
        store.trash.mark(stones)
        assert store.trash.delete(stones, TTL, lambda _: None).busy == []
        left = {index for index in there if store.manifest(addresses[index]) is not None}
        assert left == reached & set(there)
        assert [store.verify(addresses[index]) for index in left] == [[] for _ in left]


def test_what_was_reached_and_cannot_be_read_is_told(tmp_path: Path, make: Callable[..., Manifest]) -> None:
    store, address = Store.open(str(tmp_path / "store"), tmp_path / "cache"), Address("publish", "tag", "c" * 64)
    make(store, address, {"record.json": b"{}"})
    (tmp_path / "store" / address.folder / "manifest.json").write_bytes(b"{}")
    found = closure({address.folder: "publication of tag"}, store.census(), store.manifest)
    assert found.unknown == (address.folder,)
