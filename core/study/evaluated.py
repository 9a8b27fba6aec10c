"""One model of a study as its evaluations describe it: readings of the same clusters as those of other models.

A cluster's name says what was read, not where it stood in a file, so two models are paired exactly where they read the
same thing: long texts by the documents that they are made of and their length, trials by their needles, questions and
rows by their number in a set that both were given.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any

from core.evaluation.long_context.needles import KINDS
from core.evaluation.long_context.positions import BucketRecord
from core.evaluation.long_context.tables import Raw, grouped
from core.stages.identity import StudiedModel
from core.study.bootstrap import Amount, Cluster, Reading

PLAIN = "plain"
VALIDATION = "validation"
ROWS, ANSWERS, CLOZE, OUTCOMES = "rows.jsonl", "answers.jsonl", "cloze.jsonl", "outcomes.jsonl"


@dataclass(frozen=True)
class Chance:
    """What guessing scores in each of n strata. The mean of (a - c) / (1 - c) over them is sum(w a) - sum(w c)."""

    by_stratum: Mapping[str, float]

    @property
    def weights(self) -> Mapping[str, float]:
        """w = 1 / (n (1 - c)) of each stratum."""
        count = len(self.by_stratum)
        return {stratum: 1 / (count * (1 - chance)) for stratum, chance in self.by_stratum.items()}

    @property
    def total(self) -> float:
        """sum(w c)."""
        return sum(weight * self.by_stratum[stratum] for stratum, weight in self.weights.items())

    def among(self, *readings: Reading) -> Chance:
        """The same of the strata that all readings have."""
        common = set(self.by_stratum).intersection(*({one.stratum for one in reading} for reading in readings))
        return Chance({stratum: chance for stratum, chance in self.by_stratum.items() if stratum in common})


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with the folders of its evaluations; one that does not exist is None."""

    model: StudiedModel
    evaluation_folder: Path | None
    long_folder: Path | None
    core_folder: Path | None

    @cached_property
    def evaluation(self) -> Mapping[str, Any]:
        """`evaluation.json`; empty when the model was not evaluated."""
        return _json(self.evaluation_folder, "evaluation.json")

    @cached_property
    def long_context(self) -> Mapping[str, Any]:
        """`long_context.json`; empty when nothing was measured."""
        return _json(self.long_folder, "long_context.json")

    @cached_property
    def raw(self) -> Raw | None:
        """The raw lines of long contexts."""
        return None if self.long_folder is None else Raw.read(self.long_folder)

    @property
    def trained_length(self) -> int:
        """T that it was last trained at."""
        return self.model.sequence_length

    @cached_property
    def lengths(self) -> dict[int, tuple[str, ...]]:
        """Tokens of the texts that it read, and the methods by which, plain first."""
        found: dict[int, dict[str, None]] = defaultdict(dict)
        if self.raw is not None:
            read = [(one.factor, one.method) for one in self.raw.positions]
            read += [(one.factor, one.method) for one in self.raw.trials]
            for factor, method in read:
                found[factor * self.trained_length][method] = None
        return {length: tuple(found[length]) for length in sorted(found)}

    def rows(self, set_name: str, way: str) -> Reading:
        """Bits and bytes of each row of a set, read in one way. A row that holds something else has another name."""
        return self._rows.get((set_name, way), {})

    @property
    def ways(self) -> tuple[str, ...]:
        """In which held-out rows were read."""
        return tuple(way for set_name, way in self._rows if set_name == VALIDATION)

    @property
    def row_sets(self) -> tuple[str, ...]:
        """The sets whose rows were read."""
        return tuple(dict.fromkeys(set_name for set_name, _ in self._rows))

    def cloze(self, way: str) -> Reading:
        """Whether each hidden word was found, read in one way."""
        found = (one for one in _lines(self.evaluation_folder, CLOZE) if one["way"] == way)
        return {Cluster("", f"{one['passage']} {one['text']}"): _verdict(one["correct"]) for one in found}

    @cached_property
    def core(self) -> Reading:
        """Whether each question of CORE was answered right; a stratum for each task."""
        return {
            Cluster(one["task"], f"{one['number']} line {one['line']}"): _verdict(one["correct"])
            for one in _lines(self.core_folder, OUTCOMES)
        }

    def long_texts(self, length: int, method: str) -> Reading:
        """Bits and bytes of each text of `length` tokens, read by `method`."""
        return self._long_texts.get((length, method), {})

    def needles(self, length: int, method: str) -> Reading:
        """Whether each trial of `length` tokens was right by likelihood, read by `method`; a stratum for each kind."""
        return self._needles.get((length, method), {})

    @cached_property
    def answers(self) -> Reading:
        """Whether each question of the examination that fitted was answered right; a stratum for each task."""
        return {
            Cluster(one["task"], f"{one['number']} {one['prompt']}"): _verdict(one["correct"])
            for one in _lines(self.evaluation_folder, ANSWERS)
            if one["correct"] is not None
        }

    @cached_property
    def chat_chance(self) -> Chance:
        """What guessing scores in the examination."""
        tasks = self.evaluation.get("examination", {}).get("tasks", {})
        return Chance({name: task["baseline"] for name, task in tasks.items() if task["asked"]})

    @cached_property
    def core_chance(self) -> Chance:
        """What guessing scores in the tasks of CORE."""
        return Chance({name: task["baseline"] for name, task in self.core_results.get("tasks", {}).items()})

    @cached_property
    def core_results(self) -> Mapping[str, Any]:
        """`core.json`; empty when CORE was not measured."""
        return _json(self.core_folder, "core.json")

    @cached_property
    def _rows(self) -> Mapping[tuple[str, str], Reading]:
        found: dict[tuple[str, str], dict[Cluster, Amount]] = {}
        for one in _lines(self.evaluation_folder, ROWS):
            row = Cluster("", f"{one['row']} of {one['bytes']} bytes")
            found.setdefault((one["set"], one["way"]), {})[row] = Amount(one["bits"], one["bytes"])
        return found

    @cached_property
    def _long_texts(self) -> Mapping[tuple[int, str], Reading]:
        """By length and method."""
        records = self.raw.positions if self.raw else ()
        found: dict[tuple[int, str], dict[Cluster, Amount]] = {}
        for (factor, method, text), those in grouped(records, lambda one: (one.factor, one.method, one.text)).items():
            cluster = Cluster("", self._texts[factor][text])
            found.setdefault((factor * self.trained_length, method), {})[cluster] = _total(those)
        return found

    @cached_property
    def _needles(self) -> Mapping[tuple[int, str], Reading]:
        """By length and method."""
        found: dict[tuple[int, str], dict[Cluster, Amount]] = {}
        for one in self.raw.trials if self.raw else ():
            if one.kind in KINDS:
                cluster = Cluster(one.kind, f"{one.number} {' '.join(needle.text for needle in one.needles)}")
                found.setdefault((one.length, one.method), {})[cluster] = _verdict(one.right)
        return found

    @cached_property
    def _texts(self) -> Mapping[int, list[str]]:
        """By factor: a name for each text, made of the documents that it holds, from which end it is read."""
        end = " from the end" if self.model.direction == "backward" else ""
        return {
            one["factor"]: [f"{one['tokens']} of {text['documents']}{end}" for text in one["texts"]]
            for one in self.long_context["documents"]
        }


def _total(records: list[BucketRecord]) -> Amount:
    return Amount(sum(one.nats for one in records) / log(2), sum(one.bytes for one in records))


def _verdict(right: bool) -> Amount:
    return Amount(float(right), 1.0)


def _json(folder: Path | None, name: str) -> Mapping[str, Any]:
    path = None if folder is None else folder / name
    if path is None or not path.exists():
        return {}
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _lines(folder: Path | None, name: str) -> Iterator[Mapping[str, Any]]:
    """The records of a file of JSON lines; none where it is not there."""
    path = None if folder is None else folder / name
    if path is not None and path.exists():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
