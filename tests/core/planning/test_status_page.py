"""The status of tags: states as the store has them, in a page that is whole, escaped and fits any screen."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from committing import commit_files

from artifacts.lease import HeldLease
from artifacts.store import Store
from core.planning.appearance import appearance
from core.planning.catalogue import stages_of
from core.planning.drawing import draw
from core.planning.layout import Box, lay_out
from core.planning.plan import plan_of
from core.planning.results import CURVE_BYTES, read_results
from core.planning.stage import Stage
from core.planning.status import Status, read_status
from core.planning.status_markdown import status_markdown
from core.planning.status_page import render_status_page
from core.recipes.table import chosen_family
from core.stages.kind import StageKind
from core.training.curves import loss_curve

TAGS = ("tiny", "tiny_drope_25", "tiny_drope_50_long", "tiny_drope_75")
VOID = {"meta", "img", "br", "link", "input", "path", "rect"}


def stage(kind: StageKind, tag: str, number: int = 0) -> Stage:
    return [found for found in stages_of(tag).values() if found.kind is kind][number]


FILES = {
    StageKind.PRETRAIN: {
        "loss.svg": loss_curve(
            "trunk", [{"step": step, "loss": 8 / (1 + step / 20)} for step in range(70)], [(0, 3.2), (70, 1.4)]
        ).encode()
    },
    StageKind.RECALIBRATE: {"loss.svg": b"<svg>" + b" " * CURVE_BYTES + b"</svg>"},
    StageKind.EVALUATE: {
        "evaluation.json": json.dumps(
            {
                "results": {
                    "bits_<script>": {
                        "value": 1.25,
                        "unit": "bits per byte",
                        "sample_size": 32768,
                        "sample_unit": "<bytes>",
                        "interval": [1.2, 1.3],
                    }
                }
            }
        ).encode()
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One tag complete but for a damaged export; another running, one with a checkpoint, one not begun."""
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    for each in stages_of("tiny_drope_25").values():
        commit_files(store, each, FILES.get(each.kind, {"file": b"content"}))
    damaged = stage(StageKind.EXPORT_HF, "tiny_drope_25")
    (path,) = (tmp_path / "store" / damaged.address.folder / "files").glob("*/file")
    path.write_bytes(b"CONTENT")
    assert store.verify(damaged.address)
    held = stage(StageKind.PRETRAIN, "tiny", 1)
    assert isinstance(store.leases.acquire(held.address, "test", ttl=600), HeldLease)
    half = stage(StageKind.MIXTURE, "tiny_drope_50_long", 1)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state").write_bytes(b"half")
    lease = store.leases.acquire(half.address, "test", ttl=600)
    assert isinstance(lease, HeldLease)
    store.progress(half.address, lease.token).save(7, tmp_path / "state")
    lease.release()
    return store


def page(status: Status, store: Store) -> str:
    return render_status_page(status, read_results(status.plan, store), moment=0.0)


class Outline(HTMLParser):
    """Ids, links, words and what is loaded; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = dict(attributes)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values["href"])] if "href" in values else []
        self.sources += [str(values["src"])] if "src" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_every_state_is_told_as_the_store_has_it(store: Store) -> None:
    status = read_status(TAGS, store)
    looks = {planned.stage.key: appearance(planned.progress).name for planned in status.plan.stages}
    assert looks[stage(StageKind.PRETRAIN, "tiny", 0).key] == "cached"
    assert looks[stage(StageKind.PRETRAIN, "tiny", 1).key] == "running"
    assert looks[stage(StageKind.PRETRAIN, "tiny", 2).key] == "blocked"
    assert looks[stage(StageKind.MIXTURE, "tiny_drope_50_long", 1).key] == "resumable"
    assert looks[stage(StageKind.EXPORT_HF, "tiny_drope_25").key] == "damaged"
    by_tag = {tag.tag: tag for tag in status.tags}
    complete = by_tag["tiny_drope_25"]
    assert complete.cached == len(complete.stages) - 1
    assert [planned.stage.kind for planned in complete.lacking] == [StageKind.EXPORT_HF]
    assert by_tag["tiny"].cached < len(by_tag["tiny"].stages)


def test_a_tag_lacks_nothing_of_which_only_another_tag_has_need(store: Store, tmp_path: Path) -> None:
    """A trunk segment that was collected as garbage: what is made from it is there for one tag and not for another."""
    segment = stage(StageKind.PRETRAIN, "tiny_drope_25")
    shutil.rmtree(tmp_path / "store" / segment.address.folder)
    complete, other = read_status(["tiny_drope_25", "tiny_drope_50_long"], store).tags
    assert segment.key not in {planned.stage.key for planned in complete.lacking}
    assert segment.key in {planned.stage.key for planned in other.lacking}


def test_the_page_is_well_formed_loads_nothing_and_has_every_stage_once(store: Store) -> None:
    status = read_status(TAGS, store)
    outline = Outline(page(status, store))
    assert outline.open == []
    expected = [f"stage-{planned.stage.key}" for planned in status.plan.stages]
    assert outline.ids == expected
    drawn = [link for link in outline.links if link.startswith("#")]
    assert set(drawn) == {f"#{anchor}" for anchor in expected}
    assert outline.tags["script"] == outline.tags["link"] == 0
    assert all(source.startswith("data:image/svg+xml;base64,") for source in outline.sources)
    assert "http" not in page(status, store).replace("http://www.w3.org/2000/svg", "")


def test_results_are_shown_what_is_too_large_or_unreadable_is_named_and_everything_is_escaped(store: Store) -> None:
    text = page(read_status(TAGS, store), store)
    assert text.count("data:image/svg+xml;base64,") == 1
    assert "too many to show" in text
    assert "1.2500" in text
    assert "1.200–1.300 of 32,768 &lt;bytes&gt;" in text
    assert "bits &lt;script&gt;" in text
    assert "<script" not in text


def test_a_damaged_result_does_not_keep_the_others_from_being_shown(store: Store, tmp_path: Path) -> None:
    evaluation = stage(StageKind.EVALUATE, "tiny_drope_25")
    (path,) = (tmp_path / "store" / evaluation.address.folder / "files").glob("*/evaluation.json")
    path.write_text(path.read_text().replace("1.25", "1.99"))
    text = page(read_status(TAGS, store), store)
    assert "its bytes are not those that were committed" in text
    assert "1.2500" in text
    assert "1.9900" not in text


def test_in_markdown_there_is_a_row_for_each_tag_and_for_each_stage_that_is_not_there(store: Store) -> None:
    status = read_status(TAGS, store)
    verdict, tags, stages, _ = status_markdown(status, "1 of 4 | <b>failed</b>").split("\n\n")
    assert verdict == "1 of 4 \\| &lt;b>failed&lt;/b>"
    assert [line.split(" | ")[0] for line in tags.splitlines()[2:]] == [f"| {tag}" for tag in TAGS]
    needed = [planned for planned in status.plan.stages if planned.progress.needed]
    assert len(stages.splitlines()[2:]) == len(needed)
    assert all(planned.stage.key[:12] in stages for planned in needed)
    assert "! damaged (will be made again)" in stages


@pytest.mark.parametrize("tags", [TAGS, tuple(chosen_family())])
def test_nothing_in_the_drawing_covers_another_and_needs_stand_left_of_what_needs_them(
    tags: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_of(tags, Store.open(str(tmp_path / "store")))
    layout = lay_out(plan.stages)
    boxes = {**layout.tiles, **layout.boxes}
    assert set(boxes) == {planned.stage.key for planned in plan.stages}
    ordered = sorted(boxes.values(), key=lambda box: (box.y, box.x))
    for place, box in enumerate(ordered):
        assert not [other for other in ordered[place + 1 :] if overlap(box, other)]
    for box in layout.boxes.values():
        for need in box.planned.stage.needs.values():
            assert need.key in layout.tiles or layout.boxes[need.key].right < box.x
    trunks = [box for box in layout.boxes.values() if box.planned.stage.kind is StageKind.PRETRAIN]
    for box in trunks:
        before = box.planned.stage.inputs.get("previous")
        assert before is None or layout.boxes[before.key].y == box.y, "a trunk is one straight line"
    assert draw(plan).count("<a href=") == len(plan.stages)


def overlap(one: Box, other: Box) -> bool:
    beside = one.right <= other.x or other.right <= one.x
    return not beside and not (one.y + one.height <= other.y or other.y + other.height <= one.y)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_no_screen_needs_to_be_scrolled_sideways(width: int, store: Store, tmp_path: Path) -> None:
    """Only what is in a box of its own may be wider than the screen. Chromium's own window cannot be 390 wide."""
    (tmp_path / "page.html").write_text(page(read_status(TAGS, store), store), encoding="utf-8")
    measure = (
        f"<iframe src='page.html' style='width:{width}px;height:800px;border:0'></iframe><script>"
        "document.querySelector('iframe').onload = loaded => {"
        " const root = loaded.target.contentDocument.documentElement;"
        " document.body.dataset.measured = root.scrollWidth + ' of ' + root.clientWidth }</script>"
    )
    (tmp_path / "measure.html").write_text(f"<!doctype html><body>{measure}</body>", encoding="utf-8")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    done = subprocess.run(
        [
            *command,
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            f"file://{tmp_path}/measure.html",
        ],
        capture_output=True,
        text=True,
        timeout=540,
        check=True,
    )
    assert f'data-measured="{width} of {width}"' in done.stdout
