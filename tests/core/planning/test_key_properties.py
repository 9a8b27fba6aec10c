"""Which keys a change of a recipe moves, and that nothing but a recipe moves any: stated for random changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from running import ROOT
from specifications import specification_of

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.recipe import MixtureTask, Recipe
from core.recipes.table import recipes
from core.stages.kind import StageKind
from core.stages.runtime import Runtime

BASE = recipes()["tiny_drope_50_long"]
STAGES = pipeline_stages(BASE)
TRAINING = frozenset({StageKind.PRETRAIN, StageKind.RECALIBRATE})
TUNING = frozenset({StageKind.SFT, StageKind.LONG_SFT})


@dataclass(frozen=True)
class Field:
    """A field of a recipe: values it may take, and the kinds of stage whose own identity it is part of."""

    path: str
    values: st.SearchStrategy[Any]
    kinds: frozenset[StageKind]


def positive(limit: int) -> st.SearchStrategy[int]:
    return st.integers(1, limit)


RATE = st.floats(0.001, 10.0)
TASKS = st.lists(
    st.builds(MixtureTask, name=st.sampled_from(["simple-spelling", "spelling-bee"]), rows=positive(99)), min_size=1
).map(tuple)

FIELDS = [
    Field("tag", st.sampled_from(["another", "third"]), frozenset({StageKind.PUBLISH})),
    Field("trunk", st.sampled_from(["another", "third"]), frozenset()),  # only names artifacts
    Field("corpus.source", st.sampled_from(["climbmix", "fineweb-edu"]), frozenset({StageKind.CORPUS})),
    Field("corpus.revision", st.text("abc", min_size=1), frozenset({StageKind.CORPUS})),
    Field("tokenizer.pattern", st.text("abc", min_size=1), frozenset({StageKind.TOKENIZER})),
    Field("tokenizer.max_characters", positive(10**9), frozenset({StageKind.TOKENIZER})),
    Field("tokenizer.document_cap", positive(10**5), frozenset({StageKind.TOKENIZER})),
    Field("architecture.depth", positive(40), TRAINING),
    Field("architecture.mlp_width", positive(4096), TRAINING),
    Field("architecture.rope_base", st.floats(1e3, 1e6), TRAINING),
    Field("architecture.logit_softcap", st.floats(1.0, 50.0), TRAINING),
    Field("architecture.norm_epsilon", st.floats(1e-9, 1e-3), TRAINING),
    Field("architecture.normalize_embedding", st.booleans(), TRAINING),
    Field("pretraining.precision", st.sampled_from(["fp32", "bf16", "fp8"]), TRAINING),
    Field("pretraining.seed", positive(10**6), TRAINING | {StageKind.EVALUATE}),
    Field("pretraining.direction", st.sampled_from(["forward", "bidirectional"]), TRAINING | {StageKind.PACK}),
    Field("pretraining.buffer_documents", positive(10**4), frozenset({StageKind.PACK})),
    Field("pretraining.optimization.matrices.peak_rate", RATE, TRAINING),
    Field("pretraining.optimization.embedding.beta1", st.floats(0.1, 0.99), TRAINING),
    Field("pretraining.optimization.schedule.warmup_steps", positive(100), TRAINING),
    Field("pretraining.optimization.gradient_clip", st.none() | RATE, TRAINING),
    Field("finetuning.precision", st.sampled_from(["fp32", "bf16"]), frozenset({StageKind.SFT})),
    Field("finetuning.optimization.unembedding.peak_rate", RATE, frozenset({StageKind.SFT})),
    Field("long_finetuning.optimization.matrices.peak_rate", RATE, frozenset({StageKind.LONG_SFT})),
    Field("evaluation.validation_tokens", positive(10**6), frozenset({StageKind.EVALUATE})),
    Field("evaluation.samples", positive(100), frozenset({StageKind.EVALUATE})),
    Field("evaluation.long_context.documents", positive(100), frozenset({StageKind.LONG_CONTEXT})),
    Field("evaluation.long_context.seed", positive(10**6), frozenset({StageKind.LONG_CONTEXT})),
    Field("evaluation.core_metric.examples", positive(100), frozenset({StageKind.CORE_BUNDLE, StageKind.CORE_METRIC})),
    Field("evaluation.core_metric.shots_seed", positive(10**6), frozenset({StageKind.CORE_METRIC})),
    Field("evaluation.questions", TASKS, frozenset({StageKind.QUESTIONS})),
    Field("publication.namespace", st.text("abc", min_size=1), frozenset({StageKind.PUBLISH})),
    Field("publication.visibility", st.sampled_from(["private", "public"]), frozenset({StageKind.PUBLISH})),
]

CHANGES = st.lists(
    st.sampled_from(FIELDS).flatmap(lambda field: st.tuples(st.just(field), field.values)), min_size=1, max_size=3
)


def value_at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


def with_value(value: Any, path: str, new: Any) -> Any:
    head, _, rest = path.partition(".")
    return replace(value, **{head: with_value(getattr(value, head), rest, new) if rest else new})


def downstream(own: Callable[[Stage], bool]) -> set[str]:
    """Keys of the stages for which `own` holds and of all that is made from them."""
    found: set[str] = set()
    for stage in STAGES:  # needs first
        if own(stage) or any(need.key in found for need in stage.inputs.values()):
            found.add(stage.key)
    return found


def moved(other: Recipe) -> set[str]:
    """Keys that `other`, whose DAG has the same form, does not share."""
    pairs = zip(STAGES, pipeline_stages(other), strict=True)
    assert all(old.kind is new.kind for old, new in pairs)
    return {old.key for old, new in zip(STAGES, pipeline_stages(other), strict=True) if old.key != new.key}


@given(CHANGES)
def test_recipes_that_differ_in_a_field_differ_in_exactly_the_keys_downstream_of_it(
    changes: list[tuple[Field, Any]],
) -> None:
    other = BASE
    for field, value in changes:
        other = with_value(other, field.path, value)
    differing = [field for field in FIELDS if repr(value_at(other, field.path)) != repr(value_at(BASE, field.path))]
    kinds = frozenset().union(*(field.kinds for field in differing))
    assert moved(other) == downstream(lambda stage: stage.kind in kinds)


@given(TASKS, st.sampled_from(["finetuning", "long_finetuning"]))
def test_another_mixture_moves_its_own_fine_tune_and_no_other(tasks: tuple[MixtureTask, ...], phase: str) -> None:
    tuning = getattr(BASE, phase)
    row_tokens = tuning.sequence_length + 1
    expected = downstream(
        lambda stage: stage.kind is StageKind.MIXTURE and getattr(stage.identity, "row_tokens", 0) == row_tokens
    )
    assert moved(with_value(BASE, f"{phase}.training", tasks)) == (expected if tasks != tuning.training else set())


@given(
    st.builds(
        Runtime,
        processes=positive(64),
        micro_batch_rows=st.none() | positive(64),
        checkpoint_seconds=RATE,
        log_seconds=RATE,
        evaluate_steps=positive(1000),
        validation_batches=positive(100),
        kernels=st.sampled_from(["deterministic", "fastest"]),
        trackers=st.lists(st.sampled_from(["tensorboard", "wandb"])).map(tuple),
        tracking_folder=st.text("abc/"),
        publication_url=st.text("abc/"),
    ),
    st.sampled_from(STAGES),
)
def test_no_setting_of_a_run_changes_a_key(runtime: Runtime, stage: Stage) -> None:
    """What a stage process is told leads back to the same key, whatever else it is told."""
    specification = specification_of(stage, runtime)
    assert Stage(stage.kind, stage.name, specification.typed_identity(), stage.inputs).key == stage.key


def test_no_environment_changes_a_key(tmp_path: Path) -> None:
    """Each variable that `tasks.settings` reads, another home, another folder, another hash seed."""
    settings = {
        "MINISERIES_STORE": str(tmp_path / "elsewhere"),
        "MINISERIES_PROCESSES": "3",
        "MINISERIES_MICRO_BATCH": "5",
        "MINISERIES_KERNELS": "fastest",
        "MINISERIES_CHECKPOINT_SECONDS": "7",
        "MINISERIES_LEASE_SECONDS": "11",
        "MINISERIES_GRACE_SECONDS": "13",
        "MINISERIES_GPU_JOBS": "1",
        "MINISERIES_TRACK_FOLDER": str(tmp_path / "tracks"),
        "MINISERIES_HUB": str(tmp_path / "hub"),
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "17",
        "TZ": "Pacific/Chatham",
    }
    assert keys_in(tmp_path, settings) == [stage.key for stage in STAGES]


def keys_in(folder: Path, environment: dict[str, str]) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINISERIES_")}
    command = [sys.executable, "-m", "flows.command_line", "plan", BASE.tag, "--json"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**inherited, "HOME": str(folder), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        check=True,
    )
    return [stage["key"] for stage in json.loads(done.stdout)["stages"]]
