"""What a run goes through, from its plan on: as shard groups are packed, those that turn out superfluous are given up,
and where the rows do not suffice, further groups are added.

Groups are made in the order of the stream and only a few beyond those that are packed, so that the first ones tell how
many are needed before the last ones are downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from core.planning.order import Lane, Work
from core.planning.plan import Plan
from core.planning.stage import Stage, in_order
from core.planning.stream_length import groups_of, measured_by
from core.stages.kind import Resource, StageKind

NOMINAL_SECONDS = 60.0  # added to every estimate: a stage that costs nothing still takes its turn
GROUP_KINDS = (StageKind.CORPUS, StageKind.PACK)


class Agenda:
    """The stages of a run as works for `core.planning.order.Order`; knows nothing of where they are made."""

    def __init__(self, plan: Plan) -> None:
        passed = [one for one in plan.stages if one.progress.needed or one.progress.state == "cached"]
        self.stages: dict[str, Stage] = {one.stage.key: one.stage for one in passed}  # needs first
        self.owners = {one.stage.key: one.tags[0] for one in passed}  # a tag by which each is known
        self._there = {one.stage.key for one in passed if not one.progress.needed}
        self._seconds = {one.stage.key: 3600 * one.remaining.gpu_hours for one in passed}
        self._listed = plan.packed
        self._rows: dict[str, int] = {}  # of the groups that this run saw packed
        self._resolve = measured_by(self._rows_of)
        self._wanted = self._find_wanted()

    @property
    def groups_to_pack(self) -> int:
        """How many shard groups are to be packed, as far as is known."""
        return sum(one.kind is StageKind.PACK and not self._is_there(one) for one in self.stages.values())

    def works(self, groups_ahead: int) -> list[Work]:
        """All of it, needs first; of a stream, a group begins when that `groups_ahead` before it has ended."""
        turns = dict(self._turns(groups_ahead))
        return [self._work(stage, turns.get(key)) for key, stage in self.stages.items()]

    def note_rows(self, key: str, rows: int, waiting: Set[str]) -> bool:
        """Note the rows of the packed group `key`; whether that changes anything. Gives up only what is `waiting`."""
        if self._rows_of(self.stages[key]) == rows:
            return False
        self._rows[key] = rows
        self._resolve = measured_by(self._rows_of)
        before, self._wanted = self._wanted, self._find_wanted()
        kept = (self.stages.keys() | self._wanted) - ((before - self._wanted) & waiting)
        roots = (stage for key, stage in self.stages.items() if key in kept)
        self.stages = {stage.key: stage for stage in in_order(roots, self._resolve) if stage.key in kept}
        return True

    def _find_wanted(self) -> set[str]:
        """The keys that are reached from what is to be made other than groups, back to what is there."""
        roots = [stage for stage in self.stages.values() if stage.kind not in GROUP_KINDS]
        wanted = {stage.key for stage in roots} - self._there
        for stage in reversed(in_order(roots, self._resolve)):
            if stage.key in wanted and not self._is_there(stage):
                wanted |= {need.key for need in stage.needs.values()}
                for need in stage.needs.values():
                    self.owners.setdefault(need.key, self.owners[stage.key])
        return wanted

    def _turns(self, groups_ahead: int) -> Iterator[tuple[str, str]]:
        """The key of a group, or of a corpus that no group before it reads, and that of the group which goes before."""
        for stage in self.stages.values():
            if stage.stream is None or self._is_there(stage):
                continue
            groups = groups_of(stage)
            first = {key: place for place, group in reversed([*enumerate(groups)]) for key in _parts(group)}
            yield from (
                (key, groups[place - groups_ahead].key) for key, place in first.items() if place >= groups_ahead
            )

    def _work(self, stage: Stage, turn: str | None) -> Work:
        """What is there is only looked at: that waits for nothing and takes no GPU and no packer."""
        if stage.key in self._there:
            return Work(key=stage.key, needs=frozenset(), lane=Lane.HOST, seconds=0.0)
        return Work(
            key=stage.key,
            needs=frozenset(need.key for need in stage.needs.values()),
            lane=_lane(stage),
            seconds=NOMINAL_SECONDS + self._seconds.get(stage.key, 0.0),
            after=frozenset() if turn is None else frozenset([turn]),
        )

    def _rows_of(self, group: Stage) -> int | None:
        return self._rows.get(group.key) or self._listed(group)

    def _is_there(self, stage: Stage) -> bool:
        return stage.key in self._there or (stage.kind is StageKind.PACK and self._rows_of(stage) is not None)


def _parts(group: Stage) -> tuple[str, str]:
    return group.key, group.inputs["corpus"].key


def _lane(stage: Stage) -> Lane:
    if stage.kind is StageKind.PACK:
        return Lane.PACK
    return Lane.GPU if stage.definition.resource is Resource.GPU else Lane.HOST
