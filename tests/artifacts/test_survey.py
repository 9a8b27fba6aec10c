"""What the names and sizes of one listing tell about a store."""

from __future__ import annotations

import pytest

from artifacts.storage import Listed
from artifacts.survey import Found, contents_of

FOLDER = "pack/rows-0123456789ab"


def listed(*paths: str) -> list[Listed]:
    return [Listed(path, 10, "") for path in paths]


def test_the_sizes_of_an_artifacts_files_are_known_once_it_is_committed() -> None:
    files = listed(f"{FOLDER}/files/0001-aa/rows.bin", f"{FOLDER}/files/0001-aa/sub/index.json")
    assert contents_of(files).artifacts == {FOLDER: Found()}
    assert contents_of([*files, *listed(f"{FOLDER}/manifest.json")]).artifacts == {
        FOLDER: Found(committed=True, bytes=20, files={"rows.bin": 10, "sub/index.json": 10})
    }


def test_an_artifact_without_a_declared_extent_is_damaged_when_no_file_is_left() -> None:
    assert contents_of(listed(f"{FOLDER}/manifest.json")).artifacts == {FOLDER: Found(committed=True, damaged=True)}


@pytest.mark.parametrize(
    ("extent", "is_damaged"),
    [
        ("0001-aa-2-20", False),
        ("0001-aa-3-20", True),  # a file is missing
        ("0001-aa-2-21", True),  # a byte is missing
        ("0001-aa-2-19", True),  # a byte too many
        ("0002-bb-2-20", True),  # the files of this attempt are missing
    ],
)
def test_files_that_are_not_as_many_or_as_large_as_declared_are_damage(extent: str, is_damaged: bool) -> None:
    files = listed(f"{FOLDER}/files/0001-aa/rows.bin", f"{FOLDER}/files/0001-aa/rows.json", f"{FOLDER}/manifest.json")
    found = contents_of([*files, *listed(f"{FOLDER}/extent/{extent}")]).artifacts[FOLDER]
    sizes = {} if is_damaged else {"rows.bin": 10, "rows.json": 10}
    assert found == Found(committed=True, damaged=is_damaged, bytes=20, files=sizes)


def test_of_two_attempts_the_sizes_are_those_of_the_one_that_is_whole() -> None:
    files = [Listed(f"{FOLDER}/files/0001-aa/rows.bin", 7, ""), Listed(f"{FOLDER}/files/0002-bb/rows.bin", 10, "")]
    committed = listed(f"{FOLDER}/manifest.json", f"{FOLDER}/extent/0001-aa-1-10", f"{FOLDER}/extent/0002-bb-1-10")
    assert contents_of([*files, *committed]).artifacts[FOLDER].files == {"rows.bin": 10}


def test_the_extent_of_an_attempt_that_died_before_its_commit_damages_nothing() -> None:
    files = listed(f"{FOLDER}/files/0002-bb/rows.bin", f"{FOLDER}/manifest.json", f"{FOLDER}/extent/0001-aa-7-70")
    found = contents_of([*files, *listed(f"{FOLDER}/extent/0002-bb-1-10")]).artifacts[FOLDER]
    assert not found.damaged


def test_what_belongs_to_no_artifact_is_listed_beside_them() -> None:
    contents = contents_of(listed("calibration/cpu/abc-fp32.json", "store.json", f"{FOLDER}/lease.json"))
    assert contents.others == ("calibration/cpu/abc-fp32.json", "store.json")
    assert contents.artifacts == {FOLDER: Found(leased=True)}
