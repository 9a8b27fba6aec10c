"""Which GPUs there are, and which of them each of several stages at once gets: equal shares, none in two of them.

Asked without importing torch, which takes seconds. With fewer GPUs than stages at once, stages take turns on them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> tuple[str, ...]:
    """GPUs as CUDA_VISIBLE_DEVICES names them: what it says where it is set, else all that the driver lists."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())
    return tuple(str(index) for index in range(_listed()))


def gpus_of_one(jobs: int) -> int:
    """How many GPUs one of `jobs` stages at once gets; 0 without any."""
    count = len(visible_gpus())
    return max(1, count // jobs) if count else 0


def share(slot: int, jobs: int) -> str | None:
    """The GPUs of slot `slot` of `jobs`, as CUDA_VISIBLE_DEVICES; None: no need to say (one job, or no GPU)."""
    gpus, size = visible_gpus(), gpus_of_one(jobs)
    if jobs == 1 or not gpus:
        return None
    first = slot * size % len(gpus)
    return ",".join(gpus[first : first + size])


@cache
def _listed() -> int:
    """GPUs that the driver lists; 0 without a driver."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else 0
