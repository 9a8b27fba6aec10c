"""The report: one file that needs nothing else and says every number, and the files beside it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from written_evaluations import WrittenModel

Studied = Callable[..., Path]

KEPT = WrittenModel(name="toy-base", methods=("plain", "yarn"))
DROPPED = WrittenModel(
    name="toy_drope_50-base", rope_drop=0.5, bits=lambda text, factor: 1100.0 * factor + 3 * text, methods=("plain",)
)


@pytest.fixture
def folder(studied: Studied) -> Path:
    """A study of a pair."""
    return studied(KEPT, DROPPED)


@pytest.fixture
def page(folder: Path) -> str:
    """Its report."""
    return (folder / "report.html").read_text()


def test_every_number_of_every_contrast_is_on_the_page(folder: Path, page: str) -> None:
    found = json.loads((folder / "study.json").read_text())
    assert found["contrasts"]
    for one in found["contrasts"] + found["summaries"]:
        values = [f"{one[name]:.4f}" for name in ("treatment_value", "baseline_value") if name in one]
        bounds = one["interval"] or []
        values += [f"{value:+.4f}".replace("+0.0000", "0.0000") for value in (one["difference"], *bounds)]
        assert [value for value in values if value not in page] == []


def test_every_score_position_and_needle_is_on_the_page(folder: Path, page: str) -> None:
    found = json.loads((folder / "study.json").read_text())
    rows = [*found["positions"], *found["needles"], *(score for one in found["models"] for score in one["scores"])]
    assert rows
    assert [row for row in rows if f"{row['value']:.4f}" not in page] == []


def test_every_sentence_is_on_the_page(folder: Path, page: str) -> None:
    found = json.loads((folder / "study.json").read_text())
    sentences = found["headline"] + found["details"]
    assert sentences
    assert [one for one in sentences if one not in unescape(page)] == []


def test_every_figure_is_on_the_page_and_a_file_of_its_own(folder: Path, page: str) -> None:
    drawn = sorted((folder / "figures").glob("*.svg"))
    assert {path.stem.split("-")[0] for path in drawn} == {"forest", "position", "needles", "grid"}
    for path in drawn:
        ElementTree.fromstring(path.read_text())
        assert f'id="{path.stem}"' in page
    assert page.count("<svg ") == len(drawn)


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "<script" not in page
    assert "<link" not in page
    assert set(re.findall(r"https?://[^\"'\s)]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.findall(r"\b(?:src|url)\s*[=(]", page)


def test_the_page_is_for_light_and_dark_paper_and_phones(page: str) -> None:
    for what in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert what in page


def test_names_cannot_break_the_page(studied: Studied) -> None:
    hostile = replace(KEPT, name='<b>&"toy-base')
    page = (studied(hostile) / "report.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_csv_files_hold_the_numbers_in_full(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "contrasts.csv").open()))
    found = json.loads((folder / "study.json").read_text())["contrasts"]
    assert [float(row["difference"]) for row in rows] == [one["difference"] for one in found]
    assert [row["low"] for row in rows] == [str(one["interval"][0]) for one in found]


def test_what_is_missing_is_listed(studied: Studied) -> None:
    folder = studied(DROPPED)
    assert "no base model of toy that kept RoPE is in the study" in (folder / "report.html").read_text()
    assert "| toy_drope_50-base | CORE |" in (folder / "study.md").read_text()


def test_a_study_without_a_pair_says_so_first(studied: Studied) -> None:
    page = (studied(KEPT) / "report.html").read_text()
    assert "No pair of models that differ in their RoPE alone" in page
