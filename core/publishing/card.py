"""README.md of a repository: what the model is, how to load it, how it was made and what it scored, all from artifacts.

No number is typed in here, and no time or place enters, so the same artifacts give the same card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.lineage.lineage import LINEAGE, Lineage
from core.publishing.card_architecture import architecture_section, rope_sentence
from core.publishing.card_certificate import certificate_section
from core.publishing.card_citations import citations_section
from core.publishing.card_core import core_section
from core.publishing.card_cost import cost_section
from core.publishing.card_curves import Figure, curves
from core.publishing.card_evaluation import (
    base_section,
    evaluation_section,
    headline,
    overlap_section,
    samples_section,
)
from core.publishing.card_lineage import lineage_figure, lineage_list
from core.publishing.card_long_context import long_context_section
from core.publishing.card_markdown import picture
from core.publishing.card_metadata import front_matter
from core.publishing.card_notes import licence_section, limitations_section
from core.publishing.card_reproduction import reproduction_section
from core.publishing.card_study import study_section
from core.publishing.card_training import mixture_section, text_section, training_section
from core.publishing.deliverables import Deliverable
from core.publishing.repository import CARD, RepositoryFile
from core.publishing.usage import usage

PHASES = {"base": "pretrained base model", "sft": "chat model, fine-tuned from a base of the same recipe"}
LAYOUTS = {"native": "nanochat's own checkpoint layout", "hf": "the Hugging Face layout"}
OTHER = {"native": "hf", "hf": "native"}


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
    def name(self) -> str:
        """The part after the namespace."""
        return self.id.partition("/")[2]

    @property
    def counterpart(self) -> str:
        """The repository of the same model in the other layout."""
        return self.repositories[OTHER[self.layout], self.model.phase]

    @property
    def parent(self) -> str | None:
        """The repository of the base that a fine-tune started from."""
        return self.repositories[self.layout, "base"] if self.model.phase == "sft" else None

    @property
    def weights(self) -> RepositoryFile:
        """The file that holds the weights, the first of them where they are several."""
        return next(file for file in self.files if self.model.holds_weights(self.layout, file.path))

    @property
    def lineage(self) -> Lineage:
        """What led to this repository: not the export in the other layout."""
        phase = self.model.phase
        measured = [f"{what}-{phase}" for what in ("evaluation", "long-evaluation", "core-metric")]
        return self.model.lineage.behind((f"{self.layout}-{phase}", *measured, "decontamination"))


@dataclass(frozen=True)
class Card:
    """The text, the pictures that it shows, and the lineage that it summarises."""

    text: str
    figures: tuple[Figure, ...]
    lineage: Lineage

    def write(self, folder: Path) -> dict[str, Path]:
        """Write every file into `folder`, which is made; return them by path."""
        folder.mkdir(parents=True)
        contents = {figure.path: figure.svg for figure in self.figures} | {CARD: self.text}
        for path, text in contents.items():
            (folder / path).write_text(text, encoding="utf-8")
        if self.lineage.stages:
            self.lineage.write(folder / LINEAGE)
        return {path.name: path for path in sorted(folder.iterdir())}


def render_card(subject: Subject) -> Card:
    """The whole card of one repository."""
    lineage = subject.lineage
    shown = {phase: model for phase, model in subject.models.items() if phase in ("base", subject.model.phase)}
    drawn = tuple(curves(shown))
    family = (lineage_figure(subject.name, lineage),) if lineage.stages else ()
    text = "\n\n".join(
        [
            f"---\n{front_matter(subject.name, subject.layout, subject.model, subject.parent)}---",
            f"# {subject.name}",
            *_summary(subject),
            *_results(subject),
            *_making(subject, shown, drawn),
            *_origin(subject, lineage, family),
            *_notes(subject, shown),
        ]
    )
    return Card(text + "\n", (*drawn, *family), lineage)


def _summary(subject: Subject) -> list[str]:
    model = subject.model
    return [
        f"A {PHASES[model.phase]}, {model.architecture.total_parameters:,} parameters, in {LAYOUTS[subject.layout]}: "
        f"the recipe `{subject.tag}` of the miniseries, a family of small nanochat models that differ in depth, "
        "training length, and whether and when their positions were dropped.",
        " ".join(filter(None, (rope_sentence(model), headline(model)))),
        "## How to use it",
        usage(subject.layout, subject.id, subject.counterpart, subject.tag, model),
        *(["### What it writes", samples] if (samples := samples_section(model)) else []),
    ]


def _results(subject: Subject) -> list[str]:
    model = subject.model
    parts = ["## Evaluation", evaluation_section(model)]
    if model.phase == "sft":
        parts += ["### Of the base that it started from", base_section(subject.models["base"])]
    else:
        parts += ["### CORE", core_section(model)]
    parts += ["### Beyond the trained length", long_context_section(model)]
    if model.study:
        parts += ["### Beside its siblings", study_section(model, model.study)]
    if model.overlap:
        parts += ["### Overlap with the training text", overlap_section(model.overlap)]
    return [*parts, "## Limitations", limitations_section(model)]


def _making(subject: Subject, shown: Mapping[str, Deliverable], drawn: tuple[Figure, ...]) -> list[str]:
    model = subject.model
    parts = ["## Architecture", architecture_section(model), "## Training", training_section(shown)]
    parts += ["### Text", text_section(model)]
    if mixture := mixture_section(model.lineage):
        parts += ["### Chat data", mixture]
    if drawn:
        parts += ["### Curves", *(f"{picture(one.path, one.alternative)}\n\n*{one.alternative}.*" for one in drawn)]
    return [*parts, "## Cost and hardware", cost_section(model.lineage)]


def _origin(subject: Subject, lineage: Lineage, family: tuple[Figure, ...]) -> list[str]:
    others = ", ".join(f"`{other}`" for other in subject.repositories.values() if other != subject.id)
    parts = ["## Lineage"]
    if family:
        parts += [
            "Each stage has a key, a hash of its recipe and of the keys of what it was made from; "
            f"[`{LINEAGE}`]({LINEAGE}) has them whole, with files, sha256 and code revisions.",
            *(picture(one.path, one.alternative) for one in family),
            lineage_list(lineage),
        ]
    parts += [
        f"`{subject.weights.path}` has sha256 `{subject.weights.sha256}`. `.miniseries.json` lists all files of this "
        f"repository with theirs, and `miniseries verify {subject.id}` compares. Of the same recipe: {others}.",
        "## How to make it again",
        reproduction_section(subject.tag, subject.layout, subject.model.phase, lineage),
    ]
    if subject.layout == "hf":
        parts += ["## Is the conversion right?", certificate_section(subject.model.certificate)]
    return parts


def _notes(subject: Subject, shown: Mapping[str, Deliverable]) -> list[str]:
    return ["## Licence", licence_section(subject.model), "## It rests on, and what to cite", citations_section(shown)]
