"""Where the time of a run goes: data, forward and backward, optimizer, checkpoint.

A GPU works behind the program's back, so a part is charged with what the program waited for in it. A benchmark
passes `synchronize`, which makes every part wait for its own work; training does not, since it would be slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["data", "forward_backward", "optimizer", "checkpoint"]


@dataclass
class Times:
    """Seconds by part, since the beginning or the last `reset`."""

    synchronize: Callable[[], None] = lambda: None
    seconds: dict[Part, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Charge the block to `name`; parts do not nest."""
        started = time.perf_counter()
        try:
            yield
            self.synchronize()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def reset(self) -> None:
        """Begin again at zero."""
        self.seconds.clear()
