"""A stage process: read the specification, call the kind's producer, write the outcome.

Runs alone (`python -m core.stages SPEC`) or as one rank of torchrun (`python -m core.training SPEC`).
Only rank 0 writes the artifact; the other ranks get folders of their own that are thrown away.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.errors import LeaseLost, StoreError, StoreUnavailable
from artifacts.redaction import redact
from artifacts.store import Store
from core.stages.context import Interrupted, Metrics, StageContext, StageError, StageUnavailable
from core.stages.early_signals import RESUMABLE
from core.stages.kind import DEFINITIONS
from core.stages.parent_death import die_with_parent
from core.stages.report import Reporter
from core.stages.specification import Outcome, Specification
from core.stages.streamed import StreamedInput

FINISHED, FAILED = 0, 1

Producer = Callable[[StageContext[Any]], Metrics]


def find_producer(name: str) -> Producer:
    """Import `module:function`."""
    module, _, function = name.partition(":")
    producer: Producer = getattr(importlib.import_module(module), function)
    return producer


def numerics_domain() -> dict[str, object]:
    """What bit-identity depends on besides the key: interpreter, processor, and torch's device if it is loaded."""
    domain: dict[str, object] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
    }
    if torch := sys.modules.get("torch"):
        cuda = torch.cuda.is_available()
        domain |= {
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "threads": torch.get_num_threads(),
        }
    return domain


def run_child(path: Path) -> int:
    """Make the stage that the specification at `path` describes; return the process's exit code."""
    die_with_parent()
    rank = int(os.environ.get("RANK", "0"))
    specification = Specification.read(path)
    try:
        metrics = find_producer(DEFINITIONS[specification.kind].producer)(_context(specification, rank))
    except (Interrupted, StageUnavailable, StoreUnavailable, LeaseLost) as stop:
        return _end_early(Outcome(status="interrupted", rank=rank, error=str(stop)), path.parent)
    except (StageError, StoreError) as error:
        return _end_early(Outcome(status="failed", rank=rank, error=str(error)), path.parent)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the supervisor must read it
        sys.stderr.write(redact(traceback.format_exc()))
        return _end_early(_unexpected(error, rank), path.parent)
    Outcome(status="finished", rank=rank, metrics=metrics, numerics=numerics_domain()).write(path.parent)
    return FINISHED


def _context(specification: Specification, rank: int) -> StageContext[Any]:
    scratch = Path(specification.scratch) / f"rank-{rank}"
    output = Path(specification.output) if rank == 0 else scratch / "output"
    for folder in (scratch, output):
        folder.mkdir(parents=True, exist_ok=True)
    store = Store.open(specification.store)
    return StageContext(
        name=specification.name,
        key=specification.key,
        identity=specification.typed_identity(),
        inputs={role: Path(folder) for role, folder in specification.inputs.items()},
        output=output,
        scratch=scratch,
        checkpoints=store.progress(specification.address, specification.token),
        report=Reporter(),
        runtime=specification.runtime,
        streamed={role: StreamedInput(artifact=found, store=store) for role, found in specification.streamed.items()},
    )


def _end_early(outcome: Outcome, folder: Path) -> int:
    outcome.write(folder)
    return RESUMABLE if outcome.status == "interrupted" else FAILED


def _unexpected(error: Exception, rank: int) -> Outcome:
    """A failed outcome, unless a collective failed because another rank's process ended: that passes.

    gloo says so in a plain RuntimeError. What it says of its sockets is for the log.
    """
    torch = sys.modules.get("torch")
    if torch is not None and (isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)):
        return Outcome(status="interrupted", rank=rank, error=f"another rank went away while rank {rank} waited for it")
    return Outcome(status="failed", rank=rank, error=_one_line(error))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
