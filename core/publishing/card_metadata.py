"""The metadata at the head of a card, as the Hub reads it: library, licence, parent, data sets, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from huggingface_hub import EvalResult, ModelCardData

from core.data.corpus.sources import SOURCES
from core.lineage.lineage import Lineage
from core.publishing.card_evaluation import ACCURACY, called_measurement, is_score, written_value
from core.publishing.card_training import ORIGIN, datasets, read_source
from core.publishing.corpus_dataset import corpus_dataset
from core.publishing.deliverables import Deliverable
from core.stages.kind import StageKind

LIBRARIES = {"native": "nanochat", "hf": "transformers"}


def front_matter(name: str, layout: str, model: Deliverable, parent: str | None) -> str:
    """YAML for one repository called `name`; `parent` is the repository of the base that a fine-tune started from."""
    data = ModelCardData(
        license="mit",
        language=["en"] if (read := read_source(model.lineage)) and read[0] in SOURCES else None,
        library_name=LIBRARIES[layout],
        pipeline_tag="text-generation",
        tags=_tags(layout, model),
        datasets=datasets(model.lineage) or None,
        base_model=parent,
        base_model_relation="finetune" if parent else None,
        model_name=name,
        eval_results=list(_results(model)),
    )
    return data.to_yaml(line_break="\n") + "\n"


def _tags(layout: str, model: Deliverable) -> list[str]:
    tags = ["nanochat", "rope" if model.meta["use_rope"] else "nope", f"d{model.architecture.depth}"]
    if model.lineage.of_kind(StageKind.RECALIBRATE):
        tags.append("drope")
    if model.phase == "sft":
        tags += ["sft", "conversational"]
    return [*tags, "custom_code"] if layout == "hf" else tags


def _results(model: Deliverable) -> Iterator[EvalResult]:
    origins = _question_origins(model.lineage)
    for name, result in model.evaluation["results"].items():
        if not is_score(name):
            continue
        metric, _, task = name.partition("/")
        kind, revision, called = _measured_on(model, task, origins)
        bounds = result["interval"]
        interval = "" if bounds is None else f", 95 % interval {' to '.join(_written(bounds, result['unit']))}"
        yield EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type=kind,
            dataset_name=called,
            dataset_revision=revision,
            metric_type="accuracy" if name.startswith(ACCURACY) else metric,
            metric_name=f"{called_measurement(metric)} ({result['sample_size']:,} {result['sample_unit']}{interval})",
            metric_value=result["value"],
        )


def _written(bounds: tuple[float, float], unit: str) -> tuple[str, str]:
    low, high = bounds
    return written_value(low, unit), written_value(high, unit)


def _measured_on(model: Deliverable, task: str, origins: Mapping[str, str]) -> tuple[str, str | None, str]:
    """Identifier, revision and name of what a number was measured on: a data set of the Hub where it is one."""
    if task:
        match = ORIGIN.match(origins.get(task, ""))
        return (match["repository"], match["revision"], task) if match else (task, None, task)
    if model.evaluation["suite"] == "base" and (read := read_source(model.lineage)):
        source, revision = read
        return corpus_dataset(source) or source, revision, f"{source}, held-out shard"
    return f"{model.evaluation['suite']}-suite", None, f"held-out text of the {model.evaluation['suite']} suite"


def _question_origins(lineage: Lineage) -> Mapping[str, str]:
    found = lineage.of_kind(StageKind.QUESTIONS)
    origins: Mapping[str, str] = found[0].metrics.get("origins", {}) if found else {}
    return origins
