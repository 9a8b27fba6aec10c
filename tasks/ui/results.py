"""What a finished stage left, as a page: the curves of a training, the numbers of an evaluation, where exports and
repositories are. Every page links to the artifact in the store, and to the log of the attempt that made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from artifacts.attempt import log_path
from artifacts.manifest import Manifest
from artifacts.store import Store
from core.planning.results import EVALUATIONS, TRAINING
from core.planning.stage import Stage
from core.planning.title import title
from core.publishing.card_markdown import duration, table
from core.stages.kind import StageKind
from tasks.perform import Assignment, Performed
from tasks.ui.board import Board
from tasks.ui.page import Page, page_key
from tasks.ui.training_page import Record, training_page

TRACE, RECOVERY, RECEIPT = "metrics.jsonl", "recovery.svg", "receipt.json"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A stage whose artifact is there."""

    stage: Stage
    manifest: Manifest
    store: Store
    publications: str  # URL of what destination `folder` publishes to
    standing: str  # what came of it in a few words; whether it was made, reused or cached, and after how long

    @property
    def description(self) -> str:
        """One line with links; the news first, because lists of pages cut it."""
        address = self.stage.address
        folder = f"{self.store.url}/{address.folder}"
        log = f"{self.store.url}/{log_path(address, self.manifest.attempt)}"
        return f"{self.standing} · [{folder}]({folder}) · [log]({log})"

    def read(self, path: str) -> str:
        """The text of a small file; "" when the artifact has none of that name. Raises `StoreError`."""
        known = any(file.path == path for file in self.manifest.files)
        return self.store.read_file(self.manifest, path).decode() if known else ""


def show_results(board: Board, assignment: Assignment, done: Performed, summary: str) -> None:
    """Show what there is to see of `done`; most of what was cached has been shown by the run that made it."""
    stage = assignment.stage
    if stage.kind not in (ALWAYS if done.state == "cached" else PAGES):
        return
    what, page = PAGES[stage.kind]
    finished = Finished(
        stage=stage,
        manifest=done.manifest,
        store=assignment.settings.open_store(),
        publications=assignment.settings.runtime.publication_url,
        standing=f"{summary} · {done.state}" + (f" in {duration(done.seconds)}" if done.state != "cached" else ""),
    )
    board.show(page_key(stage, what), partial(page, finished))


def training_results(finished: Finished) -> Page:
    """The whole trace, and how a model recovered from the loss of RoPE."""
    records = list(_records(finished.read(TRACE)))
    recovery = finished.read(RECOVERY)
    pictures = {"recovery after RoPE was dropped": recovery} if recovery else {}
    text = training_page(title(finished.stage), finished.standing, records, pictures)
    return Page(form="markdown", data=text, description=finished.description)


def evaluation_results(finished: Finished) -> Page:
    """A row for each measurement, and for what has none."""
    evaluation = json.loads(finished.read(EVALUATIONS[finished.stage.kind]) or '{"results": {}}')
    rows = [_measurement(name, measured) for name, measured in evaluation["results"].items()]
    rows += [{"measurement": name, "value": "missing", "unit": why} for name, why in _missing(evaluation)]
    return Page(form="table", data=json.dumps(rows), description=finished.description)


def export_results(finished: Finished) -> Page:
    """Where the files are, and how large."""
    files = [(file.path, f"{file.bytes:,}") for file in finished.manifest.files]
    where = finished.store.path_of(finished.stage.address)
    text = f"`{where}`\n\n{table(('file', 'bytes'), files)}"
    return Page(form="markdown", data=text, description=finished.description)


def publication_results(finished: Finished) -> Page:
    """A row for each repository, with a link."""
    text = repository_table(finished.read(RECEIPT), finished.publications)
    return Page(form="markdown", data=text, description=finished.description)


def repository_table(receipt: str, publications: str) -> str:
    """The repositories of a receipt, as Markdown; `publications`: URL of what destination `folder` publishes to."""
    rows = [
        (f"[{one['id']}]({_url(one['url'], publications)})", f"v{one['version']}", str(len(one["files"])))
        for one in (json.loads(receipt)["repositories"] if receipt else [])
    ]
    return table(("repository", "version", "files"), rows)


PAGES: Mapping[StageKind, tuple[str, Callable[[Finished], Page]]] = {
    **dict.fromkeys(TRAINING, ("loss", training_results)),
    StageKind.EVALUATE: ("results", evaluation_results),
    StageKind.CORE_METRIC: ("results", evaluation_results),
    StageKind.EXPORT_NATIVE: ("files", export_results),
    StageKind.EXPORT_HF: ("files", export_results),
    StageKind.EXPORT_TWIN: ("files", export_results),
    StageKind.PUBLISH: ("repositories", publication_results),
}
ALWAYS = (*EVALUATIONS, StageKind.PUBLISH)  # what the run was for


def _records(trace: str) -> Iterator[Record]:
    for line in trace.splitlines():
        values = json.loads(line)
        yield int(values.pop("step")), values


def _missing(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What has no number, and why."""
    for one in evaluation.get("missing", ()):
        yield (one, "there are no data of it") if isinstance(one, str) else (one["what"], one["why"])
    for task in evaluation.get("examination", {}).get("missing", ()):
        yield task, "no question of it was asked"


def _measurement(name: str, measured: Mapping[str, Any]) -> dict[str, object]:
    interval = measured.get("interval")
    return {
        "measurement": name.replace("_", " "),
        "value": round(measured["value"], 4),
        "95 % interval": f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "",
        "sample": f"{measured['sample_size']:,} {measured['sample_unit']}",
        "unit": measured["unit"],
    }


def _url(url: str, publications: str) -> str:
    """What a folder's receipt says is relative to the folder."""
    return url if "://" in url else f"{publications}/{url}"
