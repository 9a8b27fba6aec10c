"""Measured speeds in the store: one small sealed record for each device, architecture and precision.

    calibration/<device>/<digest of the architecture>-<precision>.json

The sequence length is part of the architecture, so a fine-tune on longer rows has a record of its own. A record also
holds the numerics domain it was measured in. Speeds are of one GPU. Measuring again replaces a record.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from artifacts.encoding import canonical
from artifacts.manifest import FORMAT, STRICT
from artifacts.store import Store
from artifacts.transfer import at_once
from core.planning.speed import DEFAULT_DEVICE, Shape, Speeds
from core.recipes.recipe import RecipeError
from core.training.accelerators import dense_bf16_peak

FOLDER = "calibration"
PATH = re.compile(rf"{FOLDER}/(?P<device>[^/]+)/(?P<shape>[0-9a-f]{{12}}-[a-z0-9]+)\.json")


class CalibrationRecord(BaseModel):
    """One measurement."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    device: str  # as torch calls it; "cpu" for processors
    architecture: Any
    precision: str
    batch_tokens: int
    steps: int  # that were timed
    tokens_per_second: Annotated[float, Field(gt=0)]  # of one GPU
    numerics: dict[str, Any]
    measured: float = Field(default_factory=time.time)  # seconds since the epoch
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(
        cls, shape: Shape, *, batch_tokens: int, steps: int, tokens_per_second: float, numerics: Mapping[str, object]
    ) -> CalibrationRecord:
        """The record of one measurement; the numerics domain names the device."""
        return cls(
            device=str(numerics["device"]),
            architecture=canonical(shape.architecture),
            precision=shape.precision,
            batch_tokens=batch_tokens,
            steps=steps,
            tokens_per_second=tokens_per_second,
            numerics=dict(numerics),
        )


def calibration_path(device: str, shape: Shape) -> str:
    """Where the speed of `shape` on `device` is kept, relative to the store."""
    return f"{FOLDER}/{device_slug(device)}/{shape.name}.json"


def device_slug(device: str) -> str:
    """`NVIDIA H100 80GB HBM3` -> `nvidia-h100-80gb-hbm3`."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def speeds_on(store: Store, device: str, shapes: Iterable[Shape]) -> Speeds:
    """What the store knows of `shapes` on this device: one small read each. Raises `StoreError`."""
    shapes = list(dict.fromkeys(shapes))
    found = at_once(lambda shape: store.records.read(calibration_path(device, shape), CalibrationRecord), shapes)
    records = {shape: record for shape, record in zip(shapes, found, strict=True) if record is not None}
    names = [record.device for record in records.values()]  # as torch calls it; `device` may be its slug
    measured = {shape: record.tokens_per_second for shape, record in records.items()}
    return Speeds(device=names[0] if names else device, measured=measured)


def chosen_speeds(store: Store, paths: Iterable[str], shapes: Iterable[Shape], gpu: str | None) -> Speeds:
    """The speeds that a plan is made with; reads only records of `shapes`.

    `paths` are what the store's listing shows beside artifacts. `gpu` names a known device, or is part of the name of a
    calibrated one. Without it the first device counts on which every shape has been measured; else it is an H100.
    """
    shapes = list(dict.fromkeys(shapes))
    calibrated = _calibrated(paths)
    wanted = {shape.name for shape in shapes}
    whole = [slug for slug, names in calibrated.items() if wanted and wanted <= names]
    if gpu is None and whole:
        return speeds_on(store, whole[0], shapes)
    named = gpu or DEFAULT_DEVICE
    slug = _matching(named, calibrated)
    if slug is None:
        return Speeds(device=known_device(named))
    return speeds_on(store, slug, [shape for shape in shapes if shape.name in calibrated[slug]])


def known_device(name: str) -> str:
    """`name` as the table of accelerators has it; raises `RecipeError` for a device that is not in it."""
    for spelled in (name, name.upper()):
        if dense_bf16_peak(spelled) is not None:
            return spelled
    raise RecipeError(
        f"no device is called {name!r}: name one as `H100`, `H200`, `B200`, `A100` or `RTX 4090`, "
        "or run `miniseries calibrate TAG` on it"
    )


def _calibrated(paths: Iterable[str]) -> dict[str, set[str]]:
    """Names of the measured shapes by device slug, in order."""
    found: dict[str, set[str]] = {}
    for path in sorted(paths):
        if match := PATH.fullmatch(path):
            found.setdefault(match["device"], set()).add(match["shape"])
    return found


def _matching(name: str, slugs: Iterable[str]) -> str | None:
    """The calibrated device that `name` means: its whole name, or words of it. Part of a GPU is not that GPU."""
    words = device_slug(name).split("-")
    if (whole := "-".join(words)) in slugs:
        return whole
    found = [slug for slug in slugs if set(words) <= set(slug.split("-")) and ("mig" in words or "-mig-" not in slug)]
    if len(found) > 1:
        raise RecipeError(f"--gpu {name} may mean any of {', '.join(found)}; name one of these in full")
    return found[0] if found else None
