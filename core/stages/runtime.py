"""How a stage is run, as opposed to what it makes: none of these settings can reach a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kernels = Literal["deterministic", "fastest"]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Settings of one run of a stage. Changing any of them must leave the artifact's meaning unchanged."""

    processes: int = 1  # ranks that torchrun starts on this node
    micro_batch_rows: int | None = None  # rows of one forward pass; None: the stage chooses
    checkpoint_seconds: float = 600.0  # between checkpoints of an unfinished stage
    log_seconds: float = 10.0  # between progress lines
    evaluate_steps: int = 250  # between validation losses; never touches the training stream
    validation_batches: int = 8  # read by each of those, of the size of a training batch: 8.4M tokens at 2^20
    kernels: Kernels = "deterministic"  # "fastest" may use attention whose backward is not reproducible
    trackers: tuple[str, ...] = ()  # of core.training.tracking
    tracking_folder: str = ""  # where trackers that write files put them
    publication_url: str = ""  # where destination "folder" is: an fsspec URL laid out like the Hub
