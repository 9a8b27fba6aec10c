"""Evaluations of a model as its stages leave them, written by hand: numbers that a person can check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path

from core.recipes.recipe import Direction
from core.stages.identity import StudiedModel, StudiedPhase

TRAINED = 64
FACTORS = (1, 2)
KINDS = ("single", "passkey")
WAYS = {"forward": ["forward"], "backward": ["backward"], "bidirectional": ["forward", "backward"]}


@dataclass(frozen=True, kw_only=True)
class WrittenModel:
    """A model that needs `bits(text, factor)` bits for each of `texts` texts of 10 bytes a token, and so on."""

    name: str
    rope_drop: float | None = None
    phase: StudiedPhase = "base"
    texts: int = 8
    bits: Callable[[int, int], float] = lambda text, factor: 1000.0 * factor + text
    rows: Sequence[float] = (150.0, 151.0, 152.0, 153.0, 154.0, 155.0)
    rights: Callable[[str, int, int], bool] = lambda kind, number, factor: number % 2 == 0
    trials: int = 4
    methods: Sequence[str] = ("plain",)
    answers: Mapping[str, Sequence[bool | None]] = field(default_factory=dict)
    direction: Direction = "forward"
    documents_from: int = 0  # the first of the documents that its texts are made of

    @property
    def studied(self) -> StudiedModel:
        """As a study knows it."""
        return StudiedModel(
            name=self.name,
            trunk="toy",
            phase=self.phase,
            depth=2,
            parameters=1_000_000,
            tokens=20_000_000,
            tokens_per_parameter=20.0,
            rope_drop=self.rope_drop,
            direction=self.direction,
            sequence_length=TRAINED,
        )

    def write(self, root: Path) -> dict[str, Path]:
        """Write the folders below `root`; return them by their roles in a study."""
        evaluation, beyond = root / f"evaluate-{self.name}", root / f"long-{self.name}"
        for folder in (evaluation, beyond):
            folder.mkdir(parents=True, exist_ok=True)
        self._write_evaluation(evaluation)
        self._write_long_context(beyond)
        return {f"evaluate:{self.name}": evaluation, f"long_context:{self.name}": beyond}

    def _write_evaluation(self, folder: Path) -> None:
        document: dict[str, object] = {"results": {}, "missing": []}
        if self.rows:
            size = 100 * len(self.rows)
            bits = _result(sum(self.rows) / size, "bits per byte", size, "bytes")
            document["results"] = {"bits_per_byte": bits}
        if self.answers:
            tasks = {
                task: {"asked": len(given), "baseline": 0.25 if task == "choice" else 0.0}
                for task, given in self.answers.items()
            }
            document["examination"] = {"tasks": tasks}
        (folder / "evaluation.json").write_text(json.dumps(document))
        rows = [
            {"set": "validation", "way": way, "row": row, "bits": bits, "bytes": 100}
            for way in WAYS[self.direction]
            for row, bits in enumerate(self.rows)
        ]
        _write_lines(folder / "rows.jsonl", rows)
        answers = [
            {"task": task, "number": number, "prompt": f"{task} {number}?", "correct": correct}
            for task, given in self.answers.items()
            for number, correct in enumerate(given)
        ]
        _write_lines(folder / "answers.jsonl", answers)

    def _write_long_context(self, folder: Path) -> None:
        read = [(method, factor) for factor in FACTORS for method in self.methods if factor > 1 or method == "plain"]
        positions = [self._bucket(*each, text) for each in read for text in range(self.texts)]
        trials = [self._trial(*each, kind, number) for each in read for kind in KINDS for number in range(self.trials)]
        _write_lines(folder / "positions.jsonl", positions)
        _write_lines(folder / "trials.jsonl", trials)
        _write_lines(folder / "answers.jsonl", [])
        texts = [{"documents": [self.documents_from + text], "concatenated": False} for text in range(self.texts)]
        document = {
            "documents": [{"factor": factor, "tokens": factor * TRAINED, "texts": texts} for factor in FACTORS],
            "tables": {"positions": [self._table_row(*each, first) for each in read for first in (None, 0)]},
            "missing": [],
        }
        (folder / "long_context.json").write_text(json.dumps(document))

    def _bucket(self, method: str, factor: int, text: int) -> dict[str, object]:
        return {
            "method": method,
            "factor": factor,
            "text": text,
            "first": 0,
            "end": factor * TRAINED,
            "nats": self.bits(text, factor) * log(2),
            "bytes": 10 * factor * TRAINED,
            "tokens": factor * TRAINED,
        }

    def _trial(self, method: str, factor: int, kind: str, number: int) -> dict[str, object]:
        return {
            "method": method,
            "factor": factor,
            "kind": kind,
            "number": number,
            "length": factor * TRAINED,
            "prompt_tokens": factor * TRAINED - 8,
            "depth": (number % 2) / 2,
            "chance": 0.5,
            "needles": [{"text": f"{kind} {number} of {factor}", "depth": 0.5, "place": 3}],
            "queries": [],
            "right": self.rights(kind, number, factor),
            "answer": None,
            "answer_right": None,
        }

    def _table_row(self, method: str, factor: int, first: int | None) -> dict[str, object]:
        size = 10 * factor * TRAINED * self.texts
        value = sum(self.bits(text, factor) for text in range(self.texts)) / size
        end = None if first is None else factor * TRAINED
        where = {"method": method, "factor": factor, "first": first, "end": end, "texts": self.texts}
        return {**where, "result": _result(value, "bits per byte", size, "bytes")}


def written(root: Path, models: Iterable[WrittenModel]) -> dict[str, Path]:
    """The evaluations of several models."""
    return {role: folder for model in models for role, folder in model.write(root).items()}


def _result(value: float, unit: str, size: int, sample_unit: str) -> dict[str, object]:
    interval = [value - 0.1, value + 0.1]
    return {"value": value, "unit": unit, "sample_size": size, "sample_unit": sample_unit, "interval": interval}


def _write_lines(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
