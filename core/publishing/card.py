"""README.md of a repository: what the model is, how to load it, how it was made and what it scored, all from artifacts.

No number is typed in here, and no time or place enters, so the same artifacts give the same card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from core.publishing.deliverables import Deliverable
from core.publishing.repository import RepositoryFile
from core.publishing.usage import usage

PHASES = {"base": "pretrained base model", "sft": "chat model"}
LAYOUTS = {"native": "nanochat's own checkpoint layout", "hf": "the Hugging Face layout"}
LIBRARIES = {"native": "nanochat", "hf": "transformers"}
MLPS = {"swiglu": "SwiGLU", "relu2": "ReLU²"}
DROPPED = re.compile(r"_drope_(\d+)")


@dataclass(frozen=True)
class Subject:
    """The repository that a card is about. `models` holds the base and, when there is one, the fine-tune."""

    tag: str
    layout: str  # native or hf
    model: Deliverable
    models: Mapping[str, Deliverable]
    repositories: Mapping[tuple[str, str], str]  # (layout, phase) -> id, of the whole tag
    files: tuple[RepositoryFile, ...]

    @property
    def id(self) -> str:
        """namespace/name."""
        return self.repositories[self.layout, self.model.phase]

    @property
    def twin(self) -> str:
        """The repository of the same model in the Hugging Face layout."""
        return self.repositories["hf", self.model.phase]

    @property
    def weights(self) -> RepositoryFile:
        """The file that holds the weights."""
        return next(file for file in self.files if file.path == self.model.weights[self.layout])


def render_card(subject: Subject) -> str:
    """The whole file."""
    model, architecture = subject.model, subject.model.architecture
    sections = [
        f"---\n{yaml.safe_dump(front_matter(subject), sort_keys=False, allow_unicode=True)}---",
        f"# {subject.id.partition('/')[2]}",
        f"A {PHASES[model.phase]} of the nanochat family with {architecture.total_parameters:,} parameters, in "
        f"{LAYOUTS[subject.layout]}, made from the recipe `{subject.tag}`.",
        rope_sentence(subject.tag, model),
        "## How to use it",
        usage(subject.layout, subject.id, subject.twin, subject.tag, model),
        "## Architecture",
        table(("", ""), architecture_rows(model)),
        "## Training",
        table(("", *subject.models), training_rows(subject)),
        "## Evaluation",
        table(("measurement", "value", "unit", "95 % interval", "sample"), evaluation_rows(model)),
        f"Suite `{model.evaluation['suite']}`; the same numbers are in `evaluation.json`, texts in `samples.md`.",
        *([overlap_sentence(model.overlap)] if model.overlap else []),
        "## Where it comes from",
        origin(subject),
    ]
    return "\n\n".join(sections) + "\n"


def front_matter(subject: Subject) -> dict[str, object]:
    """The metadata that the Hub reads."""
    phase, layout = subject.model.phase, subject.layout
    tags = ["nanochat", "rope" if subject.model.meta["use_rope"] else "nope", f"d{subject.model.architecture.depth}"]
    tags += ["sft", "conversational"] if phase == "sft" else []
    tags += ["custom_code"] if layout == "hf" else []
    matter: dict[str, object] = {
        "license": "mit",
        "language": ["en"],
        "library_name": LIBRARIES[layout],
        "pipeline_tag": "text-generation",
        "tags": tags,
    }
    if phase == "sft":
        matter |= {"base_model": subject.repositories[layout, "base"], "base_model_relation": "finetune"}
    return matter


def rope_schedule(tag: str, model: Deliverable) -> str:
    """How the model came to have, or not to have, rotary positions."""
    if model.meta["use_rope"]:
        return "RoPE throughout"
    dropped = DROPPED.search(tag)
    return f"RoPE for the first {dropped[1]} % of pretraining, none after" if dropped else "no RoPE at its end"


def rope_sentence(tag: str, model: Deliverable) -> str:
    """What that means for whoever runs the model."""
    length = model.meta["max_seq_len"]
    if model.meta["use_rope"]:
        return f"Positions are rotary (RoPE); it was last trained on sequences of {length:,} tokens."
    return (
        f"It has no positional embedding (`use_rope` is false; {rope_schedule(tag, model)}): code that rotates queries "
        f"and keys all the same gives wrong answers. It was last trained on sequences of {length:,} tokens."
    )


def architecture_rows(model: Deliverable) -> list[tuple[str, str]]:
    """Shapes and constants."""
    architecture = model.architecture
    return [
        ("parameters", f"{architecture.total_parameters:,} ({architecture.scaling_parameters:,} matrices and lm_head)"),
        ("layers x width", f"{architecture.depth} x {architecture.width:,}"),
        (
            "heads (key/value) x width",
            f"{architecture.heads} ({architecture.key_value_heads}) x {architecture.head_width}",
        ),
        ("MLP", f"{MLPS[architecture.mlp]}, {architecture.mlp_width:,} wide"),
        ("vocabulary", f"{architecture.vocabulary_size:,}, input and output tables untied"),
        ("positions", f"RoPE, theta {architecture.rope_base:g}" if model.meta["use_rope"] else "none"),
        (
            "norms",
            f"RMSNorm without weights, epsilon {architecture.norm_epsilon:g}; queries and keys normed per head"
            + ("; embedding normed" if architecture.normalize_embedding else ""),
        ),
        ("logits", f"{architecture.logit_softcap:g} tanh(z / {architecture.logit_softcap:g})"),
    ]


def training_rows(subject: Subject) -> list[tuple[str, ...]]:
    """One column for each model of the tag: the base, and the fine-tune that starts from it."""
    metas = [model.meta for model in subject.models.values()]
    before = [0, *(meta["tokens_seen"] for meta in metas)]
    return [
        ("optimizer steps", *(f"{meta['step']:,}" for meta in metas)),
        ("tokens a step", *(f"{meta['total_batch_size']:,}" for meta in metas)),
        ("tokens", *(f"{meta['tokens_seen'] - seen:,}" for meta, seen in zip(metas, before, strict=False))),
        ("sequence length", *(f"{meta['max_seq_len']:,}" for meta in metas)),
        ("precision", *(str(meta["user_config"]["precision"]) for meta in metas)),
        ("positions", *(rope_schedule(subject.tag, model) for model in subject.models.values())),
        ("direction", *(str(meta.get("direction", "forward")) for meta in metas)),
    ]


def evaluation_rows(model: Deliverable) -> list[tuple[str, ...]]:
    """Every number with the size of its sample."""
    rows: list[tuple[str, ...]] = []
    for name, result in model.evaluation["results"].items():
        interval = "" if result["interval"] is None else " to ".join(f"{bound:.4f}" for bound in result["interval"])
        sample = f"{result['sample_size']:,} {result['sample_unit']}"
        rows.append((name.replace("_", " "), f"{result['value']:.4f}", str(result["unit"]), interval, sample))
    return rows


def overlap_sentence(report: Mapping[str, Any]) -> str:
    """How many evaluation questions stand in the text that the model was pretrained on, and where that is told."""
    tasks = report["tasks"]
    found = [f"{name} {task['overlapping']:,} of {task['questions']:,}" for name, task in tasks.items()]
    overlapping, questions, short = (
        sum(task[name] for task in tasks.values()) for name in ("overlapping", "questions", "too_short")
    )
    return (
        f"Overlap with the pretraining text: {overlapping:,} of {questions:,} evaluation questions share "
        f"{report['ngram']} words in a row with it ({', '.join(found)}); {short:,} are too short to tell. "
        "Which ones and where: [`decontamination.md`](decontamination.md)."
    )


def origin(subject: Subject) -> str:
    """Which files these are exactly, and the other repositories of the tag."""
    others = [f"`{other}`" for other in subject.repositories.values() if other != subject.id]
    return (
        f"Made by the miniseries pipeline (`miniseries run {subject.tag}`). `{subject.weights.path}` has sha256 "
        f"`{subject.weights.sha256}`; `.miniseries.json` lists all files. Of the same recipe: {', '.join(others)}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))
