"""`make_or_wait.py URL CACHE KEY`: on a line of input, make the artifact unless somebody else does; print which."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store


def main() -> str:
    """Return `made` or `reused`."""
    store = Store.open(sys.argv[1], Path(sys.argv[2]))
    address = Address("pack", "docs", sys.argv[3])
    print("ready", flush=True)
    sys.stdin.readline()
    while store.whole_manifest(address) is None:
        lease = store.leases.acquire(address, "race", ttl=30)
        if not isinstance(lease, HeldLease):
            time.sleep(0.02)
            continue
        try:
            if store.whole_manifest(address) is not None:
                return "reused"
            with lease.kept_alive(), store.attempt(address, lease) as attempt:
                (attempt.output / "rows.bin").write_bytes(b"rows" * 1000)
                attempt.commit(stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
            return "made"
        finally:
            lease.release()
    return "reused"


print(main(), flush=True)
