"""An export on its way out of the store: copied into a folder of its user's, every byte verified on arrival.

Copies, never links: who edits a file there must not edit the artifact. A file that is there already with the same
bytes is left alone, one with others is never overwritten.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from artifacts.address import Address
from artifacts.errors import ArtifactMissing
from artifacts.manifest import FileRecord, Manifest
from artifacts.store import Store
from artifacts.transfer import at_once, difference
from core.stages.context import StageError


def deliver(store: Store, address: Address, target: Path) -> Manifest:
    """Copy the files of an artifact into the folder `target`, which is made if need be; returns their manifest.

    Raises `StageError` when another file has one of the names, and when what arrived is not what was sent;
    `StoreError` when the artifact cannot be had.
    """
    manifest = store.manifest(address)
    if manifest is None:
        raise ArtifactMissing(f"artifact {address} is not in store {store.url}; `miniseries run` makes it")
    if target.exists() and not target.is_dir():
        raise StageError(f"{target}: is a file; name a folder to export to")
    missing = [file for file in manifest.files if not _is_there(file, target)]
    with store.hold(address) as folder:
        at_once(lambda file: _copy(file, folder, target), missing)
    return manifest


def _is_there(file: FileRecord, target: Path) -> bool:
    path = target / file.path
    if not path.exists():
        return False
    if problem := difference(file, path):
        raise StageError(f"{path}: another file has this name ({problem}); move it away or name another folder")
    return True


def _copy(file: FileRecord, folder: Path, target: Path) -> None:
    path = target / file.path
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(folder / file.path, part)
        if problem := difference(file, part):
            raise StageError(f"{path}: did not arrive as it was sent: {problem}; run again, and mistrust this disk")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
