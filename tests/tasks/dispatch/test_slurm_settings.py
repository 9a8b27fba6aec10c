"""What a batch job asks for: read from the environment, refused in one line, told to sbatch; and no secret in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artifacts.errors import StoreError
from core.planning.catalogue import find_stages
from core.planning.title import unique_title
from tasks.dispatch.jobs import Commission
from tasks.dispatch.slurm_script import BatchScript
from tasks.dispatch.slurm_settings import SlurmSettings, slurm_from_environment
from tasks.launch import launcher_of
from tasks.marked_display import MarkedDisplay
from tasks.perform import Assignment
from tasks.settings import settings_from_environment

GRACE = 25.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("MINISERIES_", "SLURM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MINISERIES_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MINISERIES_DISPATCH", "slurm")
    monkeypatch.setenv("MINISERIES_SLURM_FOLDER", str(tmp_path / "jobs"))


def slurm() -> SlurmSettings:
    settings = settings_from_environment().slurm
    assert settings is not None
    return settings


def script(kind: str, tag: str = "tiny_drope_50") -> BatchScript:
    stage = find_stages(tag, kind)[0]
    assignment = Assignment(
        stage=stage,
        settings=settings_from_environment(),
        launcher=launcher_of(stage.kind),
        title=unique_title(stage),
        display=MarkedDisplay(),
    )
    return BatchScript(commission=Commission(tag=tag, assignment=assignment), settings=slurm())


def test_unset_asks_for_one_gpu_on_one_node_and_leaves_the_rest_to_the_cluster() -> None:
    arguments = script("pretrain").arguments()
    assert {"--gres=gpu:1", "--nodes=1", "--requeue", "--signal=B:USR1@120"} <= set(arguments)
    assert not [argument for argument in arguments if argument.startswith(("--partition", "--time", "--mem", "--qos"))]


def test_everything_that_is_set_reaches_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"PARTITION": "h100", "ACCOUNT": "lab", "QOS": "long", "TIME": "1-04:00:00", "GRES": "gpu:h100:8"}
    for name, value in {**wanted, "CPUS": "96", "MEM": "900G", "SIGNAL_SECONDS": "300"}.items():
        monkeypatch.setenv(f"MINISERIES_SLURM_{name}", value)
    monkeypatch.setenv("MINISERIES_SLURM_OPTIONS", "--constraint='a100|h100' --exclusive")
    arguments = script("pretrain").arguments()
    assert {f"--{name.lower()}={value}" for name, value in wanted.items()} <= set(arguments)
    assert {"--cpus-per-task=96", "--mem=900G", "--signal=B:USR1@300"} <= set(arguments)
    assert arguments[-3:-1] == ["--constraint=a100|h100", "--exclusive"]


def test_gpus_are_as_many_as_ranks_and_a_cluster_without_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_PROCESSES", "8")
    assert "--gres=gpu:8" in script("pretrain").arguments()
    assert "--gres=gpu:1" in script("evaluate").arguments()
    monkeypatch.setenv("MINISERIES_SLURM_GRES", "none")
    assert "--gres" not in " ".join(script("pretrain").arguments())


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TIME", "4h", "MINISERIES_SLURM_TIME='4h' is not a time limit"),
        ("NODES", "0", "MINISERIES_SLURM_NODES='0' is no count"),
        ("CPUS", "some", "MINISERIES_SLURM_CPUS='some' is no count"),
        ("MEM", "80GB", "MINISERIES_SLURM_MEM='80GB' is not memory"),
        ("PARTITION", "a b", "MINISERIES_SLURM_PARTITION='a b' is not a partition"),
        ("OPTIONS", "--comment='x", "MINISERIES_SLURM_OPTIONS cannot be split"),
        ("SIGNAL_SECONDS", "20", "more of the first or less of the second"),
        ("FOLDER", "", "needs MINISERIES_SLURM_FOLDER"),
        ("NODES", "2", "name it in MINISERIES_CACHE"),
    ],
)
def test_what_slurm_would_refuse_is_refused_here_in_one_line(
    name: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MINISERIES_SLURM_{name}", value)
    with pytest.raises(StoreError, match=complaint) as refused:
        slurm_from_environment(GRACE)
    assert "\n" not in str(refused.value)


def test_a_stage_has_one_job_name_whatever_tag_wants_it() -> None:
    assert script("pretrain", "tiny_drope_50").name == script("pretrain", "tiny").name
    assert script("pretrain").name != script("recalibrate").name


def test_what_trains_is_joined_by_the_other_nodes_and_what_evaluates_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_SLURM_NODES", "4")
    monkeypatch.setenv("MINISERIES_CACHE", "/shared")
    assert "--nodes=4" in script("pretrain").arguments()
    assert " join &\n" in script("pretrain").text()
    assert "--nodes=1" in script("evaluate").arguments()
    assert "join" not in script("evaluate").text()


def test_the_job_inherits_secrets_and_settings_but_its_script_and_arguments_hold_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("MINISERIES_GPU_JOBS", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("MINISERIES_SLURM_FOLDER", "jobs")
    job = script("pretrain")
    environment = job.environment("s3://bucket/store")
    assert "sesame" not in job.text() + " ".join(job.arguments())
    assert environment["AWS_SECRET_ACCESS_KEY"] == "sesame"
    assert (environment["MINISERIES_DISPATCH"], environment["MINISERIES_STORE"]) == ("inline", "s3://bucket/store")
    assert environment["MINISERIES_SLURM_FOLDER"] == str(Path("jobs").absolute())
    assert environment["SLURM_CONF"] == "/etc/slurm.conf"
    assert not {"MINISERIES_GPU_JOBS", "SLURM_JOB_ID"} & environment.keys()
