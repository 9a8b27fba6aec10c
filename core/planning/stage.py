"""A stage: one node of the DAG, pure, with a key that is known before anything runs.

key = sha256 over the canonical JSON of {kind, version, identity, inputs: {role: key}}. `observed` inputs do not enter
the key: they cannot change what is made (a validation stream, read while training to measure), or follow from the key
(the further groups of the stream that begins with `group-000`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from artifacts.address import Address
from artifacts.encoding import digest
from core.stages.identity import Identity
from core.stages.kind import DEFINITIONS, Definition, StageKind

if TYPE_CHECKING:
    from core.planning.stream_length import PackedStream


@dataclass(frozen=True, eq=False)
class Stage:
    """One node: what it is (kind, identity, inputs) and how people call it (name, title)."""

    kind: StageKind
    name: str  # readable part of its folder; the same for every tag that shares the stage
    identity: Identity
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    observed: Mapping[str, Stage] = field(default_factory=dict)
    stream: PackedStream | None = None  # whose groups it reads; `observed` has as many as are expected, or measured

    @property
    def definition(self) -> Definition:
        """Version, resource and producer of this kind."""
        return DEFINITIONS[self.kind]

    @cached_property
    def key(self) -> str:
        """sha256 hex of everything that decides what this stage makes."""
        return digest(
            {
                "kind": self.kind,
                "version": self.definition.version,
                "identity": self.identity,
                "inputs": {role: stage.key for role, stage in self.inputs.items()},
            }
        )

    @cached_property
    def address(self) -> Address:
        """Where its artifact is in a store."""
        return Address(self.kind.value, self.name, self.key)

    @property
    def needs(self) -> Mapping[str, Stage]:
        """Everything that must exist before it runs, by role."""
        return {**self.inputs, **self.observed}


Resolve = Callable[[Stage], Stage]  # a stage as it is planned -> the same stage with the needs that it has now


def as_planned(stage: Stage) -> Stage:
    """Leave a stage with the needs that its recipe expects."""
    return stage


def in_order(leaves: Iterable[Stage], resolve: Resolve = as_planned) -> list[Stage]:
    """Every stage that `leaves` need, each key once, needs before needers, otherwise in the order asked for."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key in ordered:
            return
        stage = resolve(stage)
        for need in stage.needs.values():
            visit(need)
        ordered[stage.key] = stage

    for leaf in leaves:
        visit(leaf)
    return list(ordered.values())
