"""`miniseries show`: one stage of a tag, from its manifest: what it is, what it was made from, what is in it."""

from __future__ import annotations

from artifacts.encoding import canonical
from core.planning.actual import comparison
from core.planning.catalogue import find_stages
from core.planning.title import title
from flows.console import console, listing, print_json
from tasks.settings import settings_from_environment


def show_json(tag: str, wanted: str) -> None:
    """Print identity and manifest of each stage found."""
    store = settings_from_environment().open_store()
    shown = []
    for stage in find_stages(tag, wanted):
        manifest = store.manifest(stage.address)
        shown.append(
            {
                "key": stage.key,
                "kind": stage.kind.value,
                "name": stage.name,
                "identity": canonical(stage.identity),
                "inputs": {role: need.key for role, need in stage.inputs.items()},
                "path": store.path_of(stage.address) if manifest else None,
                "manifest": manifest.to_json() if manifest else None,
            }
        )
    print_json(shown)


def show(tag: str, wanted: str) -> None:
    """Print the same for people."""
    store, out = settings_from_environment().open_store(), console()
    for stage in find_stages(tag, wanted):
        out.print(f"{title(stage)}\n  key {stage.key}", markup=False)
        for role, need in stage.inputs.items():
            out.print(f"  from {role}: {need.address.folder}", markup=False)
        manifest = store.manifest(stage.address)
        if manifest is None:
            out.print("  not made yet\n")
            continue
        out.print(f"  files in {store.path_of(stage.address)}", markup=False, soft_wrap=True)
        table = listing("  file", "bytes>", "sha256")
        for file in manifest.files:
            table.add_row(f"  {file.path}", f"{file.bytes:,}", file.sha256)
        out.print(table)
        if compared := comparison([manifest.metrics]):
            out.print(f"  {compared}", markup=False, soft_wrap=True)
        for name, value in manifest.metrics.items():
            out.print(f"  {name}: {value}", markup=False, soft_wrap=True)
        out.print()
