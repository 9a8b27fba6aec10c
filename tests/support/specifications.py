"""What a supervisor would tell the process of a stage."""

from __future__ import annotations

from artifacts.encoding import canonical
from core.planning.stage import Stage
from core.stages.runtime import Runtime
from core.stages.specification import Specification


def specification_of(stage: Stage, runtime: Runtime) -> Specification:
    """The specification of an attempt at `stage` that reads and writes nowhere."""
    identity = canonical(stage.identity)
    assert isinstance(identity, dict)
    return Specification(
        kind=stage.kind,
        name=stage.name,
        key=stage.key,
        identity=identity,
        inputs={},
        output="",
        scratch="",
        store="",
        token=1,
        runtime=runtime,
    )
