"""`hold.py URL CACHE KEY worker|alone`: hold the lease for an hour, with or without a recorded worker, until killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.store import Store

store = Store.open(sys.argv[1], Path(sys.argv[2]))
lease = store.leases.acquire(Address("pack", "docs", sys.argv[3]), "holding", ttl=3600)
assert isinstance(lease, HeldLease)
worker = 0
if sys.argv[4] == "worker":
    worker = subprocess.Popen(["sleep", "3600"], start_new_session=True).pid
    lease.record_processes([worker])
print(worker, flush=True)
sys.stdin.readline()
