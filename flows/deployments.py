"""prefect.yaml, generated from the recipe table: `pipeline/<tag>` for every tag, `miniseries/all` and `study/all` for
the 20, `gpu-job/h100`, to which they hand their heavy stages, `republish/weekly` and `maintenance/nightly`.

`python -m flows.deployments > prefect.yaml`; a test fails when the committed file is not what this prints.
Everything runs on the pool `cpu`, where waiting is cheap, but for heavy stages of full-size tags, which run on `h100`.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.planning.cost import training_cost
from core.planning.pretraining import base_stage
from core.recipes.recipe import Recipe
from core.recipes.table import chosen_family, recipes
from core.stages.identity import TrainingIdentity

HEADER = """\
# Generated from the recipe table by `python -m flows.deployments > prefect.yaml`; edit the recipes, not this file.
# A cluster with work pools of another type changes `definitions` in flows/deployments.py: see `gpu_pool` there.
name: miniseries
definitions:
  pipeline: &pipeline
    entrypoint: flows/pipeline.py:pipeline
    tags: [miniseries]
  miniseries: &miniseries
    entrypoint: flows/miniseries.py:miniseries
    tags: [miniseries]
  study: &study
    entrypoint: flows/study.py:study
    tags: [miniseries]
  gpu_job: &gpu_job
    entrypoint: flows/gpu_job.py:gpu_job
    tags: [miniseries]
  republish: &republish
    entrypoint: flows/republish.py:republish
    tags: [miniseries]
  maintenance: &maintenance
    entrypoint: flows/maintenance.py:maintenance
    tags: [miniseries]

  # What needs no GPU, and the tiny family.
  cpu_pool: &cpu_pool {name: cpu}
  # Full-size tags: the flow runs where waiting is cheap and hands its heavy stages to gpu-job/h100.
  delegating: &delegating
    name: cpu
    job_variables: {env: {MINISERIES_DISPATCH: deployment}}

  # What gpu-job/h100 asks of its pool, by the type of the pool. A process has what its worker has, and a rank for each
  # GPU that the worker sees (CUDA_VISIBLE_DEVICES, MINISERIES_PROCESSES). A Docker one has the store of who deploys.
  gpus: &gpus 8
  one_stage: &one_stage {MINISERIES_DISPATCH: inline, MINISERIES_GPU_JOBS: "1"}
  process: &process
    env: *one_stage
  docker: &docker
    env: {<<: *one_stage, MINISERIES_STORE: "{{ $MINISERIES_STORE }}"}
    container_create_kwargs:
      shm_size: 16g
      device_requests: [{Driver: nvidia, Count: *gpus, Capabilities: [[gpu]]}]
  kubernetes: &kubernetes  # in a pool of deploy/kubernetes-base-job-template.json, whose secret names the store
    env: *one_stage
    gpus: *gpus
  gpu_pool: &gpu_pool
    name: h100
    job_variables: *process  # or *docker, *kubernetes
deployments:
"""

GPU_JOB = """\
  - <<: *gpu_job
    name: h100
    description: "one heavy stage, for the flow run that created it; waits for nobody while it has a GPU"
    parameters: {}
    work_pool: *gpu_pool
"""

REPUBLISH = """\
  - <<: *republish
    name: weekly
    description: "audit what this store published, render its cards anew, and correct what differs"
    parameters: {tags: null, dry_run: false}
    work_pool: *cpu_pool
    schedules: [{cron: "0 4 * * 1", timezone: UTC, slug: weekly}]
"""

MAINTENANCE = """\
  - <<: *maintenance
    name: nightly
    description: "read a share of the store again, make one small training stage again, and say what could be deleted"
    parameters: {}
    work_pool: *cpu_pool
    schedules: [{cron: "30 3 * * *", timezone: UTC, slug: nightly}]
"""


def deployment_name(recipe: Recipe) -> str:
    """`d20_40tpp` is deployed as `d20-40tpp`."""
    return recipe.tag.replace("_", "-")


def work_pool(recipe: Recipe) -> str:
    """Whether a recipe's flow delegates its heavy stages: fp32 recipes are made for CPUs."""
    return "*cpu_pool" if recipe.pretraining.precision == "fp32" else "*delegating"


def description(recipe: Recipe) -> str:
    """One line for the deployment's page: parameters, tokens, and the RoPE schedule."""
    identity = base_stage(recipe).identity
    assert isinstance(identity, TrainingIdentity)
    cost = training_cost(identity, 0, recipe.pretraining.steps)
    drop = recipe.pretraining.rope_drop
    rope = "RoPE throughout" if drop is None else f"RoPE dropped at {drop:.0%}"
    long = f", fine-tuned at {recipe.long_finetuning.sequence_length:,} tokens too" if recipe.long_finetuning else ""
    return (
        f"{recipe.architecture.total_parameters / 1e6:,.1f}M parameters, {cost.tokens / 1e6:,.1f}M tokens, {rope}{long}"
    )


def prefect_yaml() -> str:
    """The text of prefect.yaml."""
    tags = "".join(map(_tag_deployment, recipes().values()))
    family = _family_deployment(chosen_family()) + _study_deployment(chosen_family())
    return HEADER + tags + family + GPU_JOB + REPUBLISH + MAINTENANCE


def _tag_deployment(recipe: Recipe) -> str:
    return (
        f"  - <<: *pipeline\n"
        f"    name: {deployment_name(recipe)}\n"
        f'    description: "{description(recipe)}"\n'
        f"    tags: [miniseries, {recipe.tag}]\n"  # a run has a name of chance until it begins, and these at once
        f"    parameters: {{tag: {recipe.tag}}}\n"
        f"    work_pool: {work_pool(recipe)}\n"
    )


def _family_deployment(tags: Sequence[str]) -> str:
    return (
        f"  - <<: *miniseries\n"
        f"    name: all\n"
        f'    description: "{len(tags)} models in one run: shared stages once, forks beside their trunk"\n'
        f"    parameters: {{tags: [{', '.join(tags)}]}}\n"
        f"    work_pool: *delegating\n"
    )


def _study_deployment(tags: Sequence[str]) -> str:
    return (
        f"  - <<: *study\n"
        f"    name: all\n"
        f'    description: "{len(tags)} models compared, those that are not there made first"\n'
        f"    parameters: {{tags: [{', '.join(tags)}], publish: false}}\n"
        f"    work_pool: *delegating\n"
    )


if __name__ == "__main__":
    print(prefect_yaml(), end="")
