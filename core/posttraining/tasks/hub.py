"""Tasks whose examples lie on the Hugging Face Hub or its mirror: loaded once, parsed one row at a time.

A mirror (`MINISERIES_MIRROR`, a folder or bucket, see `core.data.corpus.mirror`) is asked first, and trusted to have
what it says. Rows are shuffled by one fixed seed before any are taken: the first 5,200 of a test set that is sorted by
subject would measure a few subjects. Revisions are pinned where a commit is known.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.data.corpus.mirror import VARIABLE, mirrored_dataset
from core.posttraining.conversation import Conversation
from core.posttraining.tasks.data_files import Table, open_files, split_files
from core.posttraining.tasks.judge import Judge
from core.posttraining.tasks.task import Examples, Material, Split
from core.stages.context import StageError, StageUnavailable

SHUFFLE_SEED = 42

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class HubSplit:
    """One split of one data set at one revision."""

    repository: str
    config: str | None
    split: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.repository} {self.config or 'default'}/{self.split} at {self.revision}"

    def load(self) -> Table:
        """Read it from the mirror, the Hub or the local cache; raise `StageError` naming the data set."""
        files = self._mirrored_files()
        return open_files(files) if files else self._load_from_hub()

    def _mirrored_files(self) -> tuple[str, ...]:
        """Its files on the mirror; none where there is no mirror or none of them."""
        root = mirrored_dataset(self.repository, self.revision or "main")
        return () if root is None else split_files(root, self._folders, self.split)

    @property
    def _folders(self) -> tuple[str, ...]:
        """Where data sets of the Hub keep the files of a configuration."""
        return (self.config,) if self.config else ("data", "")

    def _load_from_hub(self) -> Table:
        import datasets

        try:
            table: Table = datasets.load_dataset(self.repository, self.config, split=self.split, revision=self.revision)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            kind = StageUnavailable if isinstance(error, ConnectionError) else StageError
            place = f"datasets/{self.repository}/resolve/{self.revision}/{self._folders[0]}/{self.split}*.parquet"
            raise kind(
                f"cannot load {self} from the Hugging Face Hub: {reason}; set {VARIABLE} to a folder or bucket that "
                f"has {place} (or .jsonl), or run this stage once where the Hub can be reached, copy that machine's "
                "cache here and set HF_HOME, or take the task out of the recipe"
            ) from error
        return table


@dataclass(frozen=True, kw_only=True)
class HubTask:
    """A task with a split of its own for validation. `parse` turns a row into a conversation."""

    name: str
    unique_answer: bool
    judge: Judge | None
    training: HubSplit | None
    validation: HubSplit
    parse: Callable[[Row], Conversation]

    def open(self, split: Split, rows: int | None, material: Material) -> Examples:
        """The first `rows` of the shuffled split."""
        source = self._source(split)
        table = source.load()
        return take(table, shuffled(range(len(table))), rows, self.parse, origin=str(source))

    def _source(self, split: Split) -> HubSplit:
        source = self.training if split == "training" else self.validation
        if source is None:
            raise StageError(f"task {self.name} has no {split} split; it only examines")
        return source


def shuffled(indices: Sequence[int]) -> list[int]:
    """The indices in the one random order that every Hub task uses."""
    order = list(indices)
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order


def take(
    table: Table,
    order: Sequence[int],
    rows: int | None,
    parse: Callable[[Row], Conversation],
    *,
    origin: str,
    skipped: int = 0,
) -> Examples:
    """The first `rows` of `order` as conversations; raise `StageError` when there are fewer, or none."""
    if not order:
        raise StageError(f"{origin} has no usable row; take the task out of the recipe")
    if rows is not None and rows > len(order):
        raise StageError(f"{origin} has {len(order):,} usable rows, the recipe asks for {rows:,}; lower that number")
    return _HubExamples(table, order if rows is None else order[:rows], parse, origin, skipped)


@dataclass(frozen=True)
class _HubExamples:
    table: Table
    order: Sequence[int]
    parse: Callable[[Row], Conversation]
    origin: str
    skipped: int

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int, /) -> Conversation:
        row = self.order[index]
        try:
            return self.parse(self.table[row])
        except (LookupError, TypeError, ValueError) as error:
            reason = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise StageError(f"{self.origin}: row {row} is no conversation of this task: {reason}") from error
