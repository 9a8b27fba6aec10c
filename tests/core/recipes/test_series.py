"""Users' own series: what a file makes, what it shares, and what it is told when it is wrong."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.planning.catalogue import stages_of
from core.planning.pipeline import pipeline_stages
from core.planning.plan import make_plan
from core.recipes.recipe import Recipe
from core.recipes.series.cells import Cell
from core.recipes.series.errors import SeriesError
from core.recipes.table import SERIES_VARIABLE, chosen_family, find_recipe, read_series, recipes
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind

EXAMPLES = Path(__file__).parents[3] / "examples"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes `study.yaml`."""

    def written(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def cells(content: Mapping[str, Any]) -> dict[str, Cell]:
    """The cells of a series with this content, by tag."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
        return {cell.recipe.tag: cell for cell in read_series(path)}


def study(axes: Mapping[str, Any], **settings: Any) -> dict[str, Recipe]:
    """Recipes of a tiny series called `study`, by tag."""
    made = cells({"name": "study", "base": "tiny", "axes": axes, "set": settings})
    return {tag: cell.recipe for tag, cell in made.items()}


def ladder(depth: int) -> Recipe:
    """The family's recipe of one depth, by a series."""
    made = cells({"name": "ladder", "base": "miniseries", "axes": {"depth": [depth]}, "set": {"tpp": 20}})
    return made[f"ladder_d{depth}"].recipe


def test_a_tag_spells_every_axis_in_the_familys_order_whatever_the_files() -> None:
    made = study({"long": [False, True], "drope": [None, 50], "tpp": [2.5], "depth": [2, 3]})
    assert list(made) == [
        f"study_d{depth}_2.5tpp{drop}{long}" for depth in (2, 3) for drop in ("", "_drope_50") for long in ("", "_long")
    ]


def test_a_cell_is_the_recipe_that_its_coordinates_say() -> None:
    made = study(
        {"drope": [25], "long": [True]},
        depth=3,
        width=256,
        steps=40,
        batch_tokens=4096,
        sequence_length=512,
        vocabulary=1024,
        seed=7,
        shards=5,
        evaluation={"samples": 2},
        **{"pretraining.optimization.matrices.peak_rate": 0.5},
    )
    recipe = made["study_drope_25_long"]
    architecture, pretraining = recipe.architecture, recipe.pretraining
    assert (architecture.depth, architecture.width, architecture.heads, architecture.mlp_width) == (3, 256, 4, 640)
    assert (architecture.sequence_length, architecture.vocabulary_size) == (512, 1024)
    assert recipe.tokenizer.vocabulary_size == 1024
    assert (pretraining.steps, pretraining.batch_tokens, pretraining.rope_drop, pretraining.seed) == (40, 4096, 0.25, 7)
    assert recipe.corpus.training_shards == 5
    assert recipe.evaluation.samples == 2
    assert recipe.finetuning is not None
    assert recipe.long_finetuning is not None
    assert recipe.long_finetuning.sequence_length == 1024
    assert recipe.finetuning.seed == 7
    assert pretraining.optimization.matrices.peak_rate == 0.5
    assert recipe.finetuning.optimization.matrices.peak_rate == pytest.approx(0.4)  # fine-tunes follow the base's rates


def test_a_corpus_and_its_revision_are_chosen_among_the_known_ones() -> None:
    made = study({"corpus": ["climbmix@0a1b2c", "fineweb-edu", "python-docs"]})
    assert list(made) == ["study_climbmix_0a1b2c", "study_fineweb_edu", "study_python_docs"]
    corpus = made["study_climbmix_0a1b2c"].corpus
    assert (corpus.source, corpus.revision, corpus.validation_shard) == ("climbmix", "0a1b2c", 6542)


FILES = "name: study\nbase: tiny\naxes: {drope: [null]}\nset: {corpus: 'files:texts/*.jsonl'}\n"


def texts(folder: Path, names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.jsonl").write_text('{"text": "words"}\n' * 100)


def test_a_corpus_of_files_is_seen_from_the_series_file_and_the_last_of_them_is_held_out(write: Write) -> None:
    path = write(FILES)
    texts(path.parent / "texts", "abcd")
    (path.parent / "texts" / "notes.md").write_text("no part of it")
    (cell,) = read_series(path)
    corpus = cell.recipe.corpus
    assert corpus.source == f"files:{path.parent.resolve()}/texts/*.jsonl"
    assert (corpus.training_shards, corpus.validation_shard, corpus.groups) == (3, 3, 1)
    assert corpus.revision.startswith("files-")
    assert corpus.tokens_per_shard == 18 * 100 // 8
    names = {stage.name for stage in pipeline_stages(cell.recipe) if stage.kind is StageKind.PACK}
    assert len(names) == 2
    assert all(re.fullmatch(r"files-[0-9a-f]{8}-0000[03]-0000[34]", name) for name in names)


def test_another_file_makes_another_corpus(write: Write) -> None:
    revisions = set()
    for names in ("ab", "abc"):
        path = write(FILES.replace("texts", names))
        texts(path.parent / names, names)
        revisions.add(read_series(path)[0].recipe.corpus.revision)
    assert len(revisions) == 2


def test_a_dataset_of_the_hub_has_the_shards_and_the_commit_that_it_says() -> None:
    name = "dataset:owner/name#text=content&shards=20&documents=500"
    made = study({"corpus": [f"{name}@0a1b2c", f"{name}@3d4e5f"]}, shards=12)
    assert [re.sub(r"_[0-9a-f]{8}_", "_DIGEST_", tag) for tag in made] == [
        "study_dataset_DIGEST_0a1b2c",
        "study_dataset_DIGEST_3d4e5f",
    ]
    corpus = next(iter(made.values())).corpus
    assert (corpus.source, corpus.revision) == (name, "0a1b2c")
    assert (corpus.training_shards, corpus.validation_shard) == (12, 20)


@pytest.mark.parametrize(
    ("depth", "width", "mlp_width", "batch", "scaling", "steps"),
    [
        (4, 256, 640, 2**18, 11_403_264, 870),
        (5, 384, 1024, 2**18, 21_430_272, 1635),
        (12, 768, 2048, 2**19, 110_100_480, 4200),
        (18, 1152, 3072, 2**20, 324_403_200, 6187),
        (20, 1280, 3456, 2**20, 438_435_840, 8362),
        (24, 1536, 4096, 2**20, 729_808_896, 13920),
        (34, 2176, 5760, 2**21, 1_993_703_424, 19013),
    ],
)
def test_every_depth_follows_the_familys_laws(
    depth: int, width: int, mlp_width: int, batch: int, scaling: int, steps: int
) -> None:
    recipe = ladder(depth)
    architecture = recipe.architecture
    assert (architecture.width, architecture.heads * 128, architecture.mlp_width) == (width, width, mlp_width)
    assert (architecture.scaling_parameters, recipe.pretraining.batch_tokens) == (scaling, batch)
    assert recipe.pretraining.steps == steps


@pytest.mark.parametrize(
    ("depth", "matrix", "embedding", "unembedding", "decay"),
    [
        (12, 0.02, 0.3, 0.008, 0.28),
        (18, 0.0282843, 0.346410, 0.00923760, 0.1343931),
        (20, 0.0282843, 0.328634, 0.00876356, 0.0994389),
        (24, 0.0282843, 0.3, 0.008, 0.0597383),
    ],
)
def test_every_depth_has_the_rates_and_the_weight_decay_of_the_laws(
    depth: int, matrix: float, embedding: float, unembedding: float, decay: float
) -> None:
    optimization = ladder(depth).pretraining.optimization
    assert optimization.matrices.peak_rate == pytest.approx(matrix, rel=3e-6)
    assert optimization.embedding.peak_rate == pytest.approx(embedding, rel=3e-6)
    assert optimization.unembedding.peak_rate == pytest.approx(unembedding, rel=3e-6)
    assert optimization.matrices.weight_decay == pytest.approx(decay, rel=1e-6)


def test_a_cell_that_is_a_published_model_shares_all_its_training() -> None:
    own = {stage.address for stage in pipeline_stages(ladder(20))}
    published = {stage.address for stage in pipeline_stages(find_recipe("d20_20tpp"))}
    assert {address.kind for address in own - published} == {"publish"}


def test_two_series_that_meet_in_the_familys_laws_share_a_trunk() -> None:
    other = cells({"name": "other", "base": "miniseries", "axes": {"depth": [12], "tpp": [20], "long": [True]}})
    assert other["other_d12_20tpp_long"].recipe.trunk == ladder(12).trunk == "d12_20tpp"


def test_corpora_of_two_lengths_share_their_groups_and_nothing_trained_for_their_epochs_end_elsewhere() -> None:
    made = study({"shards": [4, 8]}, steps=240)
    names = {stage.key: stage.name for stage in pipeline_stages(made["study_4shards"])}
    shared = [stage for stage in pipeline_stages(made["study_8shards"]) if stage.key in names]
    assert {"corpus", "tokenizer", "pack", "mixture"} <= {stage.kind.value for stage in shared}
    assert not any(isinstance(stage.identity, TrainingIdentity) for stage in shared)
    assert all(names[stage.key] == stage.name for stage in shared)


AXES = {
    "depth": [1, 2, 3],
    "steps": [8, 12, 280],
    "seed": [0, 42],
    "shards": [4, 8],
    "pretraining.optimization.matrices.peak_rate": [0.01, 0.02],
    "finetuning.optimization.matrices.peak_rate": [0.01, 1e-05],
    "drope": [None, 25, 75],
    "long": [False, True],
}


@st.composite
def grown(draw: st.DrawFn) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Axes in any order, and the same with one value more on one of them, at any place."""
    names = draw(st.lists(st.sampled_from(list(AXES)), min_size=1, max_size=3, unique=True))
    axes = {name: draw(st.lists(st.sampled_from(AXES[name]), min_size=1, unique=True)) for name in names}
    can_grow = [name for name in names if len(axes[name]) < len(AXES[name])]
    if not can_grow:
        return axes, axes
    name = draw(st.sampled_from(can_grow))
    more = draw(st.sampled_from([value for value in AXES[name] if value not in axes[name]]))
    place = draw(st.integers(0, len(axes[name])))
    return axes, {**axes, name: [*axes[name][:place], more, *axes[name][place:]]}


@settings(max_examples=40)
@given(grown())
def test_a_value_added_to_an_axis_changes_no_tag_and_no_artifact_of_the_other_cells(
    axes: tuple[dict[str, list[Any]], dict[str, list[Any]]],
) -> None:
    before, after = study(axes[0]), study(axes[1])
    assert before.keys() <= after.keys()
    for tag, recipe in before.items():
        assert [stage.address for stage in pipeline_stages(recipe)] == [
            stage.address for stage in pipeline_stages(after[tag])
        ]


@settings(max_examples=20)
@given(grown())
def test_in_one_series_a_key_has_one_name_and_every_tag_its_own(
    axes: tuple[dict[str, list[Any]], dict[str, list[Any]]],
) -> None:
    made = study(axes[1])
    count = 1
    for values in axes[1].values():
        count *= len(values)
    assert len(made) == count
    names: dict[str, str] = {}
    for recipe in made.values():
        for stage in pipeline_stages(recipe):
            assert names.setdefault(stage.key, stage.name) == stage.name


def test_the_tiny_example_shares_its_trunks_and_is_what_all_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERIES_VARIABLE, str(EXAMPLES / "tiny_2x2.yaml"))
    tags = chosen_family()
    assert tags == [f"study_{steps}steps{drop}" for steps in (80, 160) for drop in ("", "_drope_50")]
    assert len(recipes()) == 34 + 4
    plan = make_plan(tags, {}, lambda _stage: None)
    assert plan.total.tokens == 1.5 * (80 + 160) * 2048
    assert plan.unshared.tokens == 2 * (80 + 160) * 2048
    assert "study_80steps" in {owner for stage in plan.stages for owner in stage.tags}


def test_every_example_can_be_planned_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    assert len(files) >= 2
    monkeypatch.setenv(SERIES_VARIABLE, ":".join(map(str, files)))
    names: dict[str, str] = {}
    for tag in recipes():
        for stage in stages_of(tag).values():
            assert names.setdefault(stage.key, stage.name) == stage.name


TINY = "name: study\nbase: tiny\naxes: {drope: [null, 50]}\n"
WRONG = {
    "an unknown field": ("nam: x\n" + TINY, r"no field is called 'nam'; did you mean name\?"),
    "a missing field": ("name: study\nbase: tiny\n", r"axes is missing"),
    "no mapping": ("[1, 2]", r"holds no mapping; write name:, base: and axes:"),
    "an empty file": ("", r"holds no mapping"),
    "no YAML": ("name: [", r"line 1: "),
    "a key twice": (TINY + "base: miniseries\n", r"line 4: 'base' stands twice, first in line 2"),
    "an alias": ("name: &a study\nbase: *a\naxes: {}\n", r"line 2: write the value out"),
    "a tag of YAML": ("name: !!python/name:os.system x\nbase: tiny\naxes: {}\n", r"line 1: could not determine"),
    "a name of capitals": (TINY.replace("study", "Study"), r"name: 'Study' cannot begin a tag"),
    "a name that is a number": (TINY.replace("study", "7"), r"name must be text"),
    "an unknown base": (TINY.replace("tiny", "tinny"), r"base: no base recipe is called 'tinny'; did you mean tiny\?"),
    "an unknown axis": (TINY.replace("drope", "drop"), r"axes: no axis or recipe field is called 'drop'; did you mean"),
    "an axis that is no list": (TINY.replace("[null, 50]", "50"), r"axes\.drope must be a list"),
    "an empty axis": (TINY.replace("null, 50", ""), r"axes\.drope is empty"),
    "a value that is not allowed": (TINY.replace("50", "60"), r"axes\.drope\[1\]: must be 25, 50, 75 or null, not 60"),
    "a value twice": (TINY.replace("50", "50, 50"), r"axes\.drope\[2\]: 50 stands in axes\.drope\[1\] already"),
    "a value of another type": (TINY + "set: {steps: many}\n", r"set\.steps: must be a valid integer, not \"many\""),
    "a fraction of a step": (TINY + "set: {steps: 80.0}\n", r"set\.steps: must be a valid integer, not 80\.0"),
    "too few steps": (TINY + "set: {steps: 3}\n", r"cell study: 3 steps cannot be cut in four"),
    "an infinite number": (TINY + "set: {tpp: .inf}\n", r"set\.tpp: inf is no number"),
    "a depth beyond": (TINY + "set: {depth: 40}\n", r"set\.depth: 40 is not allowed; base tiny has depths 1 to 34"),
    "a broken head": (TINY + "set: {width: 100}\n", r"no whole number of heads of 64; choose 64 or 128"),
    "a field of the law": (
        TINY + "set: {architecture.depth: 3}\n",
        r"architecture\.depth is not set directly; set depth",
    ),
    "an unknown recipe field": (TINY + "set: {pretraining: {sed: 1}}\n", r"did you mean pretraining\.seed"),
    "a choice": (TINY + "set: {pretraining.precision: fp9}\n", r"must be 'fp32', 'bf16' or 'fp8', not \"fp9\""),
    "a negative rate": (TINY + "set: {pretraining.optimization.matrices.peak_rate: -1}\n", r"below 0"),
    "an unknown corpus": (
        TINY + "set: {corpus: climbmux}\n",
        r"set\.corpus: no corpus is called 'climbmux'; did you mean",
    ),
    "a dataset without a commit": (
        TINY + "set: {corpus: 'dataset:owner/name#shards=8'}\n",
        r"dataset:owner/name#shards=8 is not pinned; write the commit behind it",
    ),
    "a dataset without shards": (
        TINY + "set: {corpus: 'dataset:owner/name@0a1b2c'}\n",
        r"dataset:owner/name: shards must be a positive number",
    ),
    "an unknown option of a source": (
        TINY + "set: {corpus: 'files:/data/*.txt#txt=body'}\n",
        r"no option is called 'txt'; known are text, on_bad_row",
    ),
    "files that are not there": (
        TINY + "set: {corpus: 'files:texts/*.jsonl'}\n",
        r"cell study: files:/\S+/texts/\*\.jsonl matches 0 files; it takes two, the last is held out",
    ),
    "a revision of this Python": (TINY + "set: {corpus: python-docs@1}\n", r"python-docs has one revision"),
    "too many shards": (TINY + "set: {shards: 9}\n", r"python-docs has 8 training shards, not 9"),
    "an unknown task": (
        TINY + "set: {finetuning.training: [{name: simple-speling, rows: 1}]}\n",
        r"no fine-tuning task is called 'simple-speling'; did you mean simple-spelling\?",
    ),
    "an unknown field of a task": (
        TINY + "set: {finetuning.training: [{name: simple-spelling, rows: 1, epoch: 2}]}\n",
        r"set\.finetuning\.training: \[0\]\.epoch is no field of it",
    ),
    "both horizons": (TINY + "set: {tpp: 1, steps: 80}\n", r"tpp and steps both decide the horizon"),
    "axis and setting": (TINY + "set: {drope: 25}\n", r"drope is in axes and in set"),
    "no depth": ("name: s\nbase: miniseries\naxes: {tpp: [9]}\n", r"depth is missing; base miniseries needs it"),
    "no horizon": ("name: s\nbase: miniseries\naxes: {depth: [9]}\n", r"tpp is missing; base miniseries needs it"),
    "an idle setting": (TINY + "set: {long_finetuning.seed: 1}\n", r"decides nothing without a long fine-tune"),
    "a taken tag": (TINY.replace("study", "tiny"), r"the tag tiny is taken by another recipe; change name"),
    "two names of one model": (
        "name: s\nbase: tiny\naxes: {tpp: [1, 1.0001]}\n",
        r"s_1tpp and s_1\.0001tpp are the same model; take one of the values out",
    ),
    "too long a tag": (TINY.replace("study", "s" * 75), r"79 at most; shorten name"),
    "too many cells": (
        "name: s\nbase: tiny\naxes: {seed: [" + ", ".join(map(str, range(1001))) + "]}\n",
        r"the axes make 1,001 cells; 1,000 at most",
    ),
    "an axis that no tag can spell": (
        "name: s\nbase: tiny\naxes: {publication.namespace: ['a b']}\n",
        r"axes\.publication\.namespace\[0\]: no tag can spell 'a b'; give it in `set`",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_line_that_names_file_place_and_what_is_allowed(write: Write, case: str) -> None:
    text, said = WRONG[case]
    path = write(text)
    with pytest.raises(SeriesError, match=said) as caught:
        read_series(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_date_is_text_and_a_power_of_ten_is_a_number(write: Write) -> None:
    path = write(TINY + "set: {publication.namespace: 2026-01-01, pretraining.optimization.gradient_clip: 1e-1}\n")
    recipe = read_series(path)[0].recipe
    assert recipe.publication.namespace == "2026-01-01"
    assert recipe.pretraining.optimization.gradient_clip == 0.1


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match=r"gone\.yaml: No such file or directory"):
        read_series(tmp_path / "gone.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(SeriesError, match=r"bytes\.yaml is not UTF-8"):
        read_series(tmp_path / "bytes.yaml")


def test_two_series_cannot_have_one_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(TINY)
    monkeypatch.setenv(SERIES_VARIABLE, f"{tmp_path / 'a.yaml'}:{tmp_path / 'b.yaml'}")
    with pytest.raises(SeriesError, match=r"b\.yaml: the tag study is taken"):
        recipes()
