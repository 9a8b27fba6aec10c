"""Stage `publish`: the repositories of one tag, made equal to its artifacts; doing it again changes nothing.

    {namespace}/nanochat-{tag}-base     -hf-base        the base model, in both layouts
    {namespace}/nanochat-{tag}-sft      -hf-sft         the fine-tune, where the recipe has one

Each holds the files of an export, the evaluation of its model, a card, and an index of them all. New ones stay private
until all are in; then they are shown, if the recipe says public, and listed in the collection of the series. The
artifact is `receipt.json`: what was published where, with the sha256 of every file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from core.publishing.card import Subject, render_card
from core.publishing.deliverables import Deliverable, read_deliverables
from core.publishing.folder import FolderDestination
from core.publishing.repository import CARD, Destination, Published, Repository, describe_files
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import PublishIdentity

NAMES = {"native": "{namespace}/nanochat-{tag}-{phase}", "hf": "{namespace}/nanochat-{tag}-hf-{phase}"}


def produce(context: StageContext[PublishIdentity]) -> Metrics:
    """Publish every repository, then write the receipt; raises `StageError` or `StoreError` in one line."""
    destination = open_destination(context)
    repositories = build_repositories(context)
    published = []
    for number, repository in enumerate(repositories, start=1):
        done = destination.publish(repository)
        context.report.log(f"{repository.id}: v{done.version}, {done.written} files written, {done.removed} removed")
        context.report.progress(number, len(repositories), "repositories", repository.id)
        published.append(done)
    destination.release(repositories, context.identity.collection)
    write_receipt(context, repositories, published)
    return {
        "repositories": len(repositories),
        "files": sum(len(repository.files) for repository in repositories),
        "files_written": sum(done.written for done in published),
        "files_removed": sum(done.removed for done in published),
        "bytes": sum(file.bytes for repository in repositories for file in repository.files),
    }


def open_destination(context: StageContext[PublishIdentity]) -> Destination:
    """The destination that the recipe names."""
    match context.identity.destination:
        case "folder":
            return FolderDestination(context.runtime.publication_url, context.scratch)
        case "hub":
            from core.publishing.hub import HubDestination  # here: its client takes a second that folders need not pay

            return HubDestination.open(context.scratch, context.report.log)
        case other:
            raise StageError(f"no destination is called {other!r}; there are folder and hub")


def build_repositories(context: StageContext[PublishIdentity]) -> list[Repository]:
    """Every repository of the tag with its card, base before fine-tune."""
    identity = context.identity
    models = read_deliverables(context.inputs)
    ids = {
        (layout, phase): name.format(namespace=identity.namespace, tag=identity.tag, phase=phase)
        for phase in models
        for layout, name in NAMES.items()
    }
    return [build_repository(context, models, ids, layout, phase) for layout, phase in ids]


def build_repository(
    context: StageContext[PublishIdentity],
    models: Mapping[str, Deliverable],
    ids: Mapping[tuple[str, str], str],
    layout: str,
    phase: str,
) -> Repository:
    """One repository: the files of the model, its lineage, the pictures of its card, then the card."""
    identity, model = context.identity, models[phase]
    files = describe_files(model.contents(layout))
    subject = Subject(identity.tag, layout, model, models, ids, files)
    shown = render_card(subject).write(context.scratch / f"{layout}-{phase}")
    card = describe_files({CARD: shown.pop(CARD)})
    return Repository(ids[layout, phase], identity.visibility == "private", (*files, *describe_files(shown), *card))


def write_receipt(
    context: StageContext[PublishIdentity], repositories: Sequence[Repository], published: Sequence[Published]
) -> None:
    """Write `receipt.json`; what it says of a folder is relative to that folder."""
    receipt = {
        "tag": context.identity.tag,
        "destination": context.identity.destination,
        "repositories": [
            {
                "id": repository.id,
                "url": done.url,
                "commit": done.commit,
                "version": done.version,
                "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in repository.files],
            }
            for repository, done in zip(repositories, published, strict=True)
        ],
    }
    (context.output / "receipt.json").write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
