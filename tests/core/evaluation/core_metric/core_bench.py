"""A toy model that reads bytes, bundles of a few questions, and the stage on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from toy_stage import UNDISTURBED, toy_context, write_toy_model

from core.data.tokenizer import Tokenizer
from core.evaluation.core_metric import stage
from core.model.transformer import Transformer
from core.recipes.recipe import Direction
from core.recipes.tiny import tiny_architecture
from core.recipes.vocabulary import SPECIAL_TOKENS
from core.stages.context import Metrics, StageContext
from core.stages.identity import CoreMetricIdentity

CONTEXT = 96  # T
ARCHITECTURE = replace(
    tiny_architecture(2, width=64), vocabulary_size=256 + len(SPECIAL_TOKENS), sequence_length=CONTEXT
)
ASKED = CoreMetricIdentity(examples=None, shuffle_seed=1337, shots_seed=1234)

Lines = Sequence[Mapping[str, object]]

COLOURS = [
    {"query": f"{thing} is", "choices": ["red", "blue", "reddish green"], "gold": number % 3}
    for number, thing in enumerate(("a fire", "the sea", "an apple", "a leaf", "a rose", "the sky", "a plum"))
]
PRONOUNS = [
    {
        "context_options": [f"{one} met {two}, {one}", f"{one} met {two}, {two}"],
        "continuation": "came.",
        "gold": gold,
    }
    for gold, one, two in ((0, "Ann", "Bob"), (1, "Cy", "Dee"), (1, "Eve", "Flo"), (0, "Gus", "Hal"), (1, "Ida", "Jo"))
]
COUNTS = [{"context": f"  {number} and one make ", "continuation": str(number + 1)} for number in range(6)]


@dataclass(frozen=True, kw_only=True)
class Given:
    """One task of a bundle that a test writes."""

    type: str
    lines: Lines | None  # None: its data are not there
    shots: int = 0
    delimiter: str | None = None
    baseline: float = 0.0  # per cent


GIVEN: Mapping[str, Given] = {
    "colours": Given(type="multiple_choice", lines=COLOURS, shots=2, baseline=100 / 3),
    "pronouns": Given(type="schema", lines=PRONOUNS, baseline=50),
    "counts": Given(type="language_modeling", lines=COUNTS, shots=3, delimiter="= "),
}


def write_bundle(folder: Path, given: Mapping[str, Given] = GIVEN, title: str | None = None) -> Path:
    """A bundle in DCLM's format, with fields and columns that nobody here needs."""
    (folder / "eval_data" / "some").mkdir(parents=True)
    tasks: list[dict[str, Any]] = []
    rows = ["Eval Task,Task Category,Random baseline,Centered Metric?"]
    for label, task in given.items():
        path = f"some/{label}.jsonl"
        tasks.append({"label": label, "dataset_uri": path, "num_fewshot": [task.shots], "icl_task_type": task.type})
        if task.delimiter is not None:
            tasks[-1]["continuation_delimiter"] = task.delimiter
        tasks[-1]["has_categories"] = False
        rows.append(f"{label},commonsense,{task.baseline},TRUE")
        if task.lines is not None:
            text = "".join(json.dumps({**line, "category": "any"}) + "\n" for line in task.lines)
            (folder / "eval_data" / path).write_text(text, encoding="utf-8")
    document = {"icl_tasks": tasks, **({} if title is None else {"title": title})}
    (folder / "core.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (folder / "eval_meta_data.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Bench:
    """Inputs of the stage in folders below `root`."""

    root: Path
    tokenizer: Tokenizer
    model: Transformer

    def context(
        self,
        bundle: Path,
        *,
        asked: CoreMetricIdentity = ASKED,
        direction: Direction = "forward",
        most: int = UNDISTURBED,
    ) -> StageContext[CoreMetricIdentity]:
        """What the stage is told; a second call goes on with the checkpoints of the first."""
        (self.root / "tokenizer").mkdir(exist_ok=True)
        self.tokenizer.save(self.root / "tokenizer")
        write_toy_model(self.root / "model", self.model, direction=direction)
        inputs = {"model": self.root / "model", "tokenizer": self.root / "tokenizer", "bundle": bundle}
        return toy_context(self.root, asked, inputs, most)

    def run(self, bundle: Path, **options: Any) -> tuple[Path, Metrics]:
        """Run the stage; its folder and metrics."""
        context = self.context(bundle, **options)
        return context.output, stage.produce(context)
