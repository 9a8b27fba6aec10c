"""`save_for_ever.py URL CACHE KEY TOKEN SOURCE`: save checkpoints of steps 1, 2, 3 ... and print each when saved."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from artifacts.address import Address
from artifacts.store import Store

url, cache, key, token, source = sys.argv[1:]
progress = Store.open(url, Path(cache)).progress(Address("pack", "docs", key), int(token))
for step in itertools.count(1):
    (Path(source) / "step").write_text(str(step))
    progress.save(step, Path(source))
    print(step, flush=True)
