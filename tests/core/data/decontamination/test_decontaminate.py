"""The report against text whose overlaps are known: planted ones are found by file and row, near misses are not."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from committing import commit_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_server import running_moto

from artifacts.progress import SavedCheckpoint
from artifacts.store import Store
from core.data import tokenizer_training
from core.data.decontamination import decontaminate
from core.data.packed_documents import NOWHERE, PackedDocuments
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.planning.pretraining import pack_stage
from core.recipes.table import recipes
from core.recipes.vocabulary import SPECIAL_TOKENS
from core.stages.context import StageContext, StageError
from core.stages.identity import DecontaminateIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.stages.streamed import StreamedArtifact, StreamedInput

IDENTITY = DecontaminateIdentity(ngram=13, rows=10_000, stream_shards=8)
FILLER = "some words about nothing in particular that fill the rows of this little corpus once more "
THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"


def report_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "decontamination.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture
def decontaminated(make: Callable, docs_tokenizer: Any) -> Callable[..., dict[str, Any]]:
    """`decontaminated(questions, group, ..., ngram=13)` runs the stage and returns its report."""

    def run(questions: Path, *groups: Path, tokenizer: Path | None = None, **changes: Any) -> dict[str, Any]:
        roles = {f"group-{number:03d}": folder for number, folder in enumerate(groups)}
        identity = dataclasses.replace(IDENTITY, **changes)
        inputs = {"questions": questions, "tokenizer": tokenizer or docs_tokenizer.folder, **roles}
        return report_of(make(decontaminate, identity, **inputs).folder)

    return run


def test_a_planted_passage_is_found_and_named_by_file_and_row(
    decontaminated: Callable, packed: Callable, questions_of: Callable
) -> None:
    group = packed([FILLER * 3] * 5, [FILLER * 3, f"Before it. {THIRTEEN.upper()}! And after.", FILLER * 3])
    asked = questions_of(
        ("counting", "Is this elsewhere?", "No, it is nowhere else in the corpus, said the man to the other man."),
        ("counting", f"What comes after {THIRTEEN.replace(' ', ', ')}?", "Fourteen."),
        ("other", f"{THIRTEEN.rpartition(' ')[0]} thirty", "Only twelve of them."),
    )
    report = decontaminated(asked, group)
    (overlap,) = report["overlaps"]
    assert overlap == {
        "task": "counting",
        "question": 1,
        "ngrams": 4,
        "overlapping_ngrams": 1,
        "ngram": THIRTEEN,
        "file": "shard_00001.parquet",
        "row": 1,
    }
    tasks = report["tasks"]
    assert (tasks["counting"]["questions"], tasks["counting"]["overlapping"]) == (2, 1)
    assert (tasks["other"]["questions"], tasks["other"]["overlapping"]) == (1, 0)


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ("Der größte Fuß — „über“ Straßen, ging: es, sie; ihr! er? wir. du (ich)", None),
        (THIRTEEN.replace("e", "é"), THIRTEEN.replace("e", "e\u0301").title()),
        ("слово два три четыре пять шесть семь восемь девять десять один двенадцать тринадцать", None),
    ],
    ids=["punctuation", "decomposed", "cyrillic"],
)
def test_case_punctuation_and_composition_of_letters_hide_nothing(
    decontaminated: Callable, packed: Callable, questions_of: Callable, asked: str, trained: str | None
) -> None:
    group = packed([FILLER * 20, (trained or asked).replace(" ", " \n ").upper(), FILLER * 20], row_tokens=401)
    report = decontaminated(questions_of(("words", asked, "Yes.")), group)
    assert [(overlap["file"], overlap["row"]) for overlap in report["overlaps"]] == [("shard_00000.parquet", 1)]


def test_words_of_two_documents_or_two_messages_are_no_ngram(
    decontaminated: Callable, packed: Callable, questions_of: Callable
) -> None:
    first, last = THIRTEEN[:30], THIRTEEN[30:]
    group = packed([first, last, FILLER * 3, THIRTEEN, FILLER * 3], row_tokens=65)
    split = questions_of(("counting", first, last))
    assert decontaminated(split, group)["tasks"]["counting"]["too_short"] == 1
    whole = questions_of(("counting", THIRTEEN, "So it is."))
    assert [overlap["row"] for overlap in decontaminated(whole, group)["overlaps"]] == [3]


def test_questions_of_fewer_words_are_counted_and_said(
    make: Callable, packed: Callable, questions_of: Callable, docs_tokenizer: Any
) -> None:
    asked = questions_of(("spelling", "Spell cat.", "c, a, t"), ("spelling", "Spell row.", "r, o, w"))
    inputs = {"questions": asked, "tokenizer": docs_tokenizer.folder, "group-000": packed([FILLER * 9])}
    made = make(decontaminate, IDENTITY, **inputs)
    assert (made.metrics["questions"], made.metrics["too_short_questions"]) == (2, 2)
    assert made.metrics["overlapping_questions"] == 0
    page = (made.folder / "decontamination.md").read_text()
    assert "| spelling | 2 | 2 | 0 | 0.00% | 0 | 0 (0.00%) |" in page
    assert page.endswith("None.\n")


def test_no_questions_are_refused(
    make: Callable, packed: Callable, questions_of: Callable, docs_tokenizer: Any
) -> None:
    inputs = {"questions": questions_of(), "tokenizer": docs_tokenizer.folder, "group-000": packed([FILLER * 9])}
    with pytest.raises(StageError, match="there are no questions to look for"):
        make(decontaminate, IDENTITY, **inputs)


def test_only_the_rows_that_training_reads_count(
    decontaminated: Callable, packed: Callable, questions_of: Callable
) -> None:
    groups = packed([FILLER * 40]), packed([THIRTEEN, *[FILLER * 4] * 5])
    asked = questions_of(("counting", THIRTEEN, "Yes."))
    assert decontaminated(asked, packed([FILLER * 4] * 30, [FILLER] * 9), rows=1)["read"]["files"] == [
        "shard_00000.parquet"
    ]
    rows = Rows.open(groups[0]).count
    before = decontaminated(asked, *groups, rows=rows)
    assert (before["read"]["rows"], before["overlaps"]) == (rows, [])
    assert before["read"]["files"] == ["shard_00000.parquet"]
    after = decontaminated(asked, *groups)
    assert len(after["overlaps"]) == 1
    assert after["read"]["rows"] == sum(Rows.open(group).count for group in groups) < after["read"]["rows_of_training"]


@pytest.mark.parametrize("direction", ["backward", "bidirectional"])
def test_documents_that_are_read_from_their_end_are_searched_as_text(
    decontaminated: Callable,
    make: Callable,
    packed: Callable,
    questions_of: Callable,
    docs: Any,
    tokenizer_identity: Callable,
    direction: str,
) -> None:
    tokens = (*SPECIAL_TOKENS, "<|forward|>", "<|backward|>")
    both_ways = make(tokenizer_training, tokenizer_identity(special_tokens=tokens), corpus=docs.folder).folder
    texts = [" ".join(f"w{number}x{word}" for word in range(13)) for number in range(12)]
    group = packed(texts, row_tokens=33, buffer_documents=4, tokenizer=both_ways, direction=direction)
    asked = questions_of(*(("planted", text, "Yes.") for text in texts))
    records = PackedDocuments.decode((group / "rows.documents.npy").read_bytes()).records
    whole = [row for row, record in enumerate(records) if record["kept"] == record["tokens"]]
    report = decontaminated(asked, group, tokenizer=both_ways, ngram=3)
    found = {overlap["question"]: overlap["row"] for overlap in report["overlaps"]}
    assert {question: row for question, row in found.items() if question in whole} == {row: row for row in whole}


words = st.text("ab", min_size=1, max_size=2)
documents = st.lists(st.lists(words, max_size=25).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents, st.lists(st.lists(words, max_size=8).map(" ".join), min_size=1, max_size=6))
def test_what_overlaps_is_the_intersection_of_sets(
    decontaminated: Callable,
    packed: Callable,
    questions_of: Callable,
    docs_tokenizer: Any,
    documents: list[str],
    asked: list[str],
) -> None:
    group = packed([*documents, "c " * 60], row_tokens=17, buffer_documents=4)
    report = decontaminated(questions_of(*(("t", text, "x") for text in asked)), group, ngram=3)

    tokenizer, matrix = Tokenizer.load(docs_tokenizer.folder), Rows.open(group)[:]
    records = PackedDocuments.decode((group / "rows.documents.npy").read_bytes()).records.tolist()
    read = [
        "" if row == NOWHERE else tokenizer.decode(matrix[row][start + 1 : start + kept])
        for row, start, kept, _ in records
    ]
    trained = [ngrams(text) for text in read]
    holders = {
        ngram: {row for row, held in enumerate(trained) if ngram in held} for text in asked for ngram in ngrams(text)
    }
    overlapping = [number for number, text in enumerate(asked) if any(holders[ngram] for ngram in ngrams(text))]
    assert [overlap["question"] for overlap in report["overlaps"]] == overlapping
    assert all(overlap["row"] in holders[overlap["ngram"]] for overlap in report["overlaps"])
    found = report["tasks"]["t"]
    assert (found["ngrams"], found["overlapping_ngrams"]) == (len(holders), sum(map(bool, holders.values())))


def ngrams(text: str) -> set[str]:
    plain = text.split()
    return {" ".join(plain[at : at + 3]) for at in range(len(plain) - 2)}


class StopAfterOne:
    """Checkpoints in a folder; the process ends when the first was saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, directory: Path) -> None:
        shutil.copytree(directory, self.folder / str(step))
        raise KeyboardInterrupt

    def newest(self) -> SavedCheckpoint | None:
        found = sorted(self.folder.iterdir())
        return SavedCheckpoint(int(found[-1].name), found[-1]) if found else None


def test_a_stage_that_was_killed_goes_on_with_the_next_group(
    tmp_path: Path, make: Callable, packed: Callable, questions_of: Callable, docs_tokenizer: Any
) -> None:
    asked = questions_of(("counting", THIRTEEN, "Yes."), ("filling", FILLER, "Yes."))
    groups = {"group-000": packed([FILLER * 40]), "group-001": packed([THIRTEEN, FILLER * 40])}
    inputs = {"questions": asked, "tokenizer": docs_tokenizer.folder, **groups}
    whole = make(decontaminate, IDENTITY, **inputs)
    saved = tmp_path / "saved"
    saved.mkdir()
    with pytest.raises(KeyboardInterrupt):
        decontaminate.produce(context_of(tmp_path / "killed", inputs, StopAfterOne(saved)))
    shutil.rmtree(groups["group-000"])  # it is not read again
    (tmp_path / "second").mkdir()
    again = context_of(tmp_path / "second", inputs, StopAfterOne(saved), checkpoint_seconds=600.0)
    assert decontaminate.produce(again) == whole.metrics
    for name in ("decontamination.json", "decontamination.md"):
        assert (again.output / name).read_bytes() == (whole.folder / name).read_bytes()


def test_groups_that_are_streamed_from_a_bucket_give_the_same_report_however_full_the_cache_is(
    tmp_path: Path,
    make: Callable,
    packed: Callable,
    questions_of: Callable,
    docs_tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = {"questions": questions_of(("counting", THIRTEEN, "Yes.")), "tokenizer": docs_tokenizer.folder}
    groups = {"group-000": packed([FILLER * 40]), "group-001": packed([THIRTEEN, FILLER * 40])}
    whole = make(decontaminate, IDENTITY, **inputs, **groups)
    (tmp_path / "saved").mkdir()
    context = context_of(tmp_path / "streamed", inputs, StopAfterOne(tmp_path / "saved"), checkpoint_seconds=600.0)
    with running_moto(tmp_path / "moto.log") as server:
        for name, value in {**server.environment(), "MINISERIES_CACHE_GB": "1e-6"}.items():
            monkeypatch.setenv(name, value)
        store = Store.open("s3://miniseries/decontaminate", tmp_path / "cache")
        streamed = streamed_from(store, groups)
        assert decontaminate.produce(dataclasses.replace(context, streamed=streamed)) == whole.metrics
    assert whole.metrics["overlapping_questions"] == 1


def streamed_from(store: Store, groups: Mapping[str, Path]) -> dict[str, StreamedInput]:
    """The groups committed to a store, to be read from there."""
    recipe, streamed = recipes()["tiny"], {}
    for index, (role, folder) in enumerate(groups.items()):
        stage = pack_stage(recipe, *recipe.corpus.group(index))
        commit_files(store, stage, {path.name: path.read_bytes() for path in folder.iterdir()})
        artifact = StreamedArtifact(address=stage.address, rows=Rows.open(folder).count)
        streamed[role] = StreamedInput(artifact=artifact, store=store)
    return streamed


def context_of(
    root: Path, inputs: Mapping[str, Path], checkpoints: StopAfterOne, checkpoint_seconds: float = 0.0
) -> StageContext[DecontaminateIdentity]:
    for name in ("output", "scratch"):
        (root / name).mkdir(parents=True)
    return StageContext(
        name="test",
        key="0" * 64,
        identity=IDENTITY,
        inputs=inputs,
        output=root / "output",
        scratch=root / "scratch",
        checkpoints=checkpoints,
        report=Reporter(io.StringIO()),
        runtime=Runtime(checkpoint_seconds=checkpoint_seconds),
    )
