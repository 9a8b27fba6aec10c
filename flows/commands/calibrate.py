"""`miniseries calibrate`: how fast this device trains the tags' models, measured and kept in the store for plans."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from core.planning.calibration import CalibrationRecord, calibration_path
from core.planning.catalogue import stages_of
from core.planning.probe import Probe, probes_of
from core.planning.speed import ASSUMED_UTILIZATION
from core.recipes.table import find_recipe
from core.training.accelerators import dense_bf16_peak
from flows.console import console, listing, print_json
from flows.stopping import stop_once
from tasks.calibrate import take
from tasks.display import BarDisplay, Display, LineDisplay
from tasks.settings import settings_from_environment

Measured = list[tuple[Probe, CalibrationRecord]]


def calibrate_json(tags: Sequence[str], steps: int) -> None:
    """Print the records as JSON."""
    print_json([record.model_dump(mode="json", exclude={"nonce"}) for _, record in _measure(tags, steps)])


def calibrate(tags: Sequence[str], steps: int) -> None:
    """Print a table for people: what was measured, and what a plan would have assumed."""
    table = listing("model", "precision", "rows of>", "device", "tokens/s>", "TFLOP/s>", "of peak>", "assumed>")
    for probe, record in _measure(tags, steps):
        flops = record.tokens_per_second * probe.architecture.flops_per_token
        peak = dense_bf16_peak(record.device)
        table.add_row(
            _model(probe),
            probe.precision,
            f"{probe.architecture.sequence_length:,}",
            record.device,
            f"{record.tokens_per_second:,.0f}",
            f"{flops / 1e12:,.3g}",
            "" if peak is None else f"{flops / peak:.1%}",
            "" if peak is None else f"{ASSUMED_UTILIZATION[probe.precision]:.1%}",
        )
    console().print(table)
    console().print("\nper GPU, kept in the store: `miniseries plan` uses it", markup=False)


def _measure(tags: Sequence[str], steps: int) -> Measured:
    """Take every probe and keep its record at once, so that what was measured before a stop is not lost."""
    settings = settings_from_environment()
    stages = [stage for tag in tags for stage in stages_of(find_recipe(tag).tag).values()]
    store, display = settings.open_store(), _display()
    store.check_writable()
    found: Measured = []
    with stop_once():
        for probe in probes_of(stages, steps, settings.runtime):
            record = _shown(probe, display)
            store.records.write(calibration_path(record.device, probe.shape), record)
            found.append((probe, record))
    return found


def _shown(probe: Probe, display: Display) -> CalibrationRecord:
    title = f"calibrate {_model(probe)}, {probe.precision}, rows of {probe.architecture.sequence_length:,}"
    began, ending, summary = time.monotonic(), "failed", ""
    display.begin(title)
    try:
        record = take(probe, title, display)
        ending, summary = "made", f"{record.tokens_per_second:,.0f} tokens/s on {record.device}"
    finally:
        display.end(title, ending, time.monotonic() - began, summary)
    return record


def _model(probe: Probe) -> str:
    architecture = probe.architecture
    return f"{architecture.depth} layers of {architecture.width:,}"


def _display() -> Display:
    """On standard error: a bar for a terminal, lines for anything else."""
    errors = Console(stderr=True)
    if errors.is_terminal:
        return BarDisplay(errors)
    logger = logging.getLogger("miniseries.calibrate")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return LineDisplay(logger)
