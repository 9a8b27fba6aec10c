"""Bundles as they are given: in a folder, an archive or a bucket, whole, with holes, and wrong."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from core_bench import COLOURS, GIVEN, Given, write_bundle

from core.evaluation.core_metric.bundle import Bundle
from core.evaluation.core_metric.collect import produce
from core.evaluation.core_metric.content import Content
from core.recipes.core_bundle import VARIABLE
from core.stages.context import StageContext, StageError
from core.stages.identity import CoreBundleIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

Collect = Callable[..., tuple[Path, dict[str, object]]]


@pytest.fixture
def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """`collect(setting, sha256)` runs the stage on what MINISERIES_CORE_BUNDLE says; its folder and metrics."""

    def run(setting: str, sha256: str) -> tuple[Path, dict[str, object]]:
        monkeypatch.setenv(VARIABLE, setting)
        output = tmp_path / f"collected-{len(list(tmp_path.glob('collected-*')))}"
        output.mkdir()
        context = StageContext(
            name="dclm",
            key="0" * 64,
            identity=CoreBundleIdentity(bundle="dclm", sha256=sha256, examples=None, seed=None, shard=None),
            inputs={},
            output=output,
            scratch=tmp_path,
            checkpoints=None,  # type: ignore[arg-type]
            report=Reporter(io.StringIO()),
            runtime=Runtime(),
        )
        return output, dict(produce(context))

    return run


def test_a_folder_and_an_archive_of_it_are_the_same_bundle(tmp_path: Path, collect: Collect) -> None:
    bundle = write_bundle(tmp_path / "packed" / "eval_bundle")
    (bundle / "notes.txt").write_text("nobody reads this")
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", tmp_path / "packed")
    wanted = Content.of(write_bundle(tmp_path / "plain")).sha256
    for place in (str(bundle), str(tmp_path / "packed"), archive, f"file://{archive}"):
        folder, metrics = collect(f"{place}#sha256={wanted}", wanted)
        assert metrics == {"tasks": 3, "examples": 18, "missing": [], "sha256": wanted}
        assert Bundle.read(folder).tasks == Bundle.read(bundle).tasks
        assert not (folder / "notes.txt").exists()


def test_a_bundle_that_is_not_on_this_disk_is_the_same_too(tmp_path: Path, collect: Collect) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    wanted = Content.of(bundle).sha256
    remote = fsspec.filesystem("memory")
    remote.put(str(bundle), "/bucket/core", recursive=True)
    remote.put(shutil.make_archive(str(tmp_path / "core"), "zip", bundle), "/bucket/core.zip")
    for url in ("memory://bucket/core", "memory://bucket/core.zip"):
        assert collect(url, wanted)[1]["sha256"] == wanted


def test_a_task_without_data_is_missing(tmp_path: Path, collect: Collect) -> None:
    given = {**GIVEN, "absent": Given(type="schema", lines=None)}
    bundle = write_bundle(tmp_path / "bundle", given)
    _, metrics = collect(str(bundle), Content.of(bundle).sha256)
    assert (metrics["tasks"], metrics["missing"]) == (3, ["absent"])


def test_a_bundle_that_is_not_pinned_says_the_setting_that_pins_it(tmp_path: Path, collect: Collect) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    sha256 = Content.of(bundle).sha256
    with pytest.raises(StageError, match=f"set MINISERIES_CORE_BUNDLE={bundle}#sha256={sha256}$"):
        collect(str(bundle), "unpinned")


def test_other_bytes_than_those_that_were_pinned_are_refused(tmp_path: Path, collect: Collect) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    before = Content.of(bundle).sha256
    with (bundle / "eval_data" / "some" / "counts.jsonl").open("a") as file:
        file.write('{"context": "9 and one make", "continuation": "10"}\n')
    with pytest.raises(StageError, match=f"has sha256 {Content.of(bundle).sha256}, the recipe says {before}"):
        collect(str(bundle), before)


def test_a_pinned_bundle_whose_place_nobody_says_is_asked_for(collect: Collect) -> None:
    with pytest.raises(StageError, match="set MINISERIES_CORE_BUNDLE to the folder"):
        collect("", "0" * 64)


def test_what_is_no_bundle_is_refused_in_one_line(tmp_path: Path, collect: Collect) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match=r"is no bundle of CORE: 0 folders in it have a core\.yaml"):
        collect(str(tmp_path / "empty"), "0" * 64)
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    with pytest.raises(StageError, match=r"broken\.zip cannot be read"):
        collect(str(tmp_path / "broken.zip"), "0" * 64)


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("core.yaml", "multiple_choice", "essay", "icl_task_type: input should be 'multiple_choice', 'schema' or"),
        ("core.yaml", "icl_tasks:", "icl_tasks: [", "is no YAML"),
        ("core.yaml", "label: pronouns", "label: counts", "at least one task and none twice"),
        ("core.yaml", "some/counts.jsonl", "../counts.jsonl", "which is not below eval_data"),
        ("core.yaml", "- 2", "- 2\n  - 5", "one number is asked for"),
        ("eval_meta_data.csv", "Random baseline", "Chance", "has no column 'Random baseline'"),
        ("eval_meta_data.csv", "counts,", "count,", "the random baseline of counts is None"),
        ("eval_meta_data.csv", ",50,", ",half,", "pronouns is 'half'; a number below 100 is asked for"),
        ("eval_meta_data.csv", ",50,", ",100,", "pronouns is '100'; a number below 100 is asked for"),
    ],
)
def test_a_description_that_is_wrong_is_named(tmp_path: Path, file: str, before: str, after: str, said: str) -> None:
    path = write_bundle(tmp_path / "bundle") / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(StageError, match=said):
        Bundle.read(path.parent)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3 is no multiple_choice"),
        ('{"query": "x", "choices": ["a"]}', "line 3 is no multiple_choice: gold"),
        ('{"query": "x", "choices": ["a"], "gold": 1}', "gold is 1, there are 1 options"),
        ('{"query": "x", "choices": ["a"], "gold": "0"}', "gold"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, said: str) -> None:
    given = {"colours": Given(type="multiple_choice", lines=COLOURS[:2])}
    bundle = Bundle.read(write_bundle(tmp_path / "bundle", given))
    with bundle.data(bundle.tasks[0]).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(StageError, match=said):
        bundle.examples(bundle.tasks[0])


def test_fewer_examples_than_shots_are_refused(tmp_path: Path) -> None:
    bundle = Bundle.read(
        write_bundle(tmp_path / "b", {"few": Given(type="multiple_choice", lines=COLOURS[:2], shots=2)})
    )
    with pytest.raises(StageError, match="2 examples are too few for 2 shots"):
        bundle.examples(bundle.tasks[0])


def test_what_is_said_of_tasks_that_are_not_asked_need_not_be_right(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    with (folder / "eval_meta_data.csv").open("a") as file:
        file.write("poetry,writing,,FALSE\n")
    assert [task.label for task in Bundle.read(folder).tasks] == list(GIVEN)
