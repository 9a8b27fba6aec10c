"""`miniseries verify`: read every byte again, of artifacts in the store or of published repositories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from artifacts.store import Store
from core.planning.catalogue import resolved_stages
from core.planning.stage import as_planned
from core.planning.stream_length import measured_by, packed_in
from core.publishing.audit import audit_repository
from core.publishing.repository import INDEX
from core.recipes.table import find_recipe
from flows.console import console, listing, print_error, print_json
from tasks.settings import settings_from_environment


def verify(names: Sequence[str]) -> int:
    """Verify repositories and the artifacts of tags (no name: the whole store); return how many are damaged."""
    tags, repositories = _told_apart(names)
    damaged = _verify_repositories(repositories) if repositories else 0
    return damaged + (_verify_store(tags) if tags or not repositories else 0)


def verify_json(names: Sequence[str]) -> int:
    """The same as a JSON list of {artifact, damages} and {repository, revision, files, findings}."""
    tags, repositories = _told_apart(names)
    audits = [asdict(audit_repository(name, print_error)) for name in repositories]
    found = [
        {"artifact": folder, "damages": damages}
        for folder, damages in (_verified(_store(), tags) if tags or not repositories else ())
    ]
    print_json([*audits, *found])
    return sum(bool(entry["damages"]) for entry in found) + sum(bool(audit["findings"]) for audit in audits)


def _told_apart(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tags, and repositories: what has a slash in it, which no tag has, or is a folder with an index."""
    repositories = [name for name in names if "/" in name or (Path(name) / INDEX).is_file()]
    return [name for name in names if name not in repositories], repositories


def _verify_repositories(names: Sequence[str]) -> int:
    audits = [audit_repository(name, print_error) for name in names]
    if any(audit.findings for audit in audits):
        table = listing("repository", "file", "what is wrong")
        for audit in audits:
            for finding in audit.findings:
                table.add_row(audit.repository, finding.path, finding.problem)
        console().print(table)
    for audit in audits:
        at = f" at {audit.revision[:12]}" if audit.revision else ""
        verdict = f"{len(audit.findings)} found wrong" if audit.findings else "all as its index says"
        console().print(f"{audit.repository}{at}: {audit.files} files, {verdict}", markup=False, soft_wrap=True)
    return sum(bool(audit.findings) for audit in audits)


def _verify_store(tags: Sequence[str]) -> int:
    damaged = checked = 0
    for folder, damages in _verified(_store(), tags):
        checked += 1
        damaged += bool(damages)
        for damage in damages:
            console().print(f"damaged: {folder}: {damage}", markup=False, soft_wrap=True)
    repair = "; the next `miniseries run` of a tag that needs them makes them again" if damaged else ""
    console().print(f"{checked} artifacts verified, {damaged} damaged{repair}")
    return damaged


def _store() -> Store:
    return settings_from_environment().open_store()


def _verified(store: Store, tags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each artifact's folder and damages; by folder, because an unreadable manifest does not tell its whole key."""
    resolve = measured_by(packed_in(store.survey())) if tags else as_planned
    recipes = [find_recipe(tag) for tag in tags]
    folders = {stage.address.folder for recipe in recipes for stage in resolved_stages(recipe.tag, resolve).values()}
    for address in store.addresses():
        if not tags or address.folder in folders:
            yield address.folder, [str(damage) for damage in store.verify(address)]
