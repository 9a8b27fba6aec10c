"""`fetch.py URL CACHE KEY`: fetch an artifact through a cache."""

from __future__ import annotations

import sys
from pathlib import Path

from artifacts.address import Address
from artifacts.store import Store

Store.open(sys.argv[1], Path(sys.argv[2])).fetch(Address("pack", "docs-00000-00002", sys.argv[3]))
