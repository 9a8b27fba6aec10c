"""Fetching a bundle from where MINISERIES_CORE_BUNDLE says: a folder, a bucket prefix or a zip archive, by fsspec URL.

Only what the bundle's descriptions name is fetched. The files may lie in one folder within (`eval_bundle/`), as they do
in the published archive.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import fsspec
from fsspec.implementations.zip import ZipFileSystem

from core.evaluation.core_metric.bundle import BASELINES, DATA, DEFINITIONS, Bundle
from core.posttraining.tasks.data_files import local_copies, reading
from core.stages.context import StageError


def fetch_bundle(url: str, folder: Path, progress: Callable[[int, int], None]) -> Bundle:
    """Copy the bundle at `url` into `folder`, and read it; a task whose data are not there is left missing.

    `progress` is told of how many tasks how many are behind us. Raises `StageError` for what is no bundle,
    `StageUnavailable` when nothing can be read at `url`.
    """
    with reading(url):
        filesystem, root = _opened(url)
        _copy_all(filesystem, _place(filesystem, root, url), (DEFINITIONS, BASELINES), folder)
    bundle = Bundle.read(folder)
    for done, task in enumerate(bundle.tasks, start=1):
        with reading(url):
            place = _place(filesystem, root, url)
            if filesystem.isfile(f"{place}{DATA}/{task.path}"):
                _copy_all(filesystem, place, (f"{DATA}/{task.path}",), folder)
        progress(done, len(bundle.tasks))
    return bundle


def _opened(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system, and the path in it below which the bundle is."""
    if url.endswith(".zip"):
        (archive,) = local_copies([url])
        try:
            return ZipFileSystem(str(archive)), ""
        except BadZipFile as error:
            raise ValueError(str(error)) from error
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, f"{path.rstrip('/')}/"


def _place(filesystem: fsspec.AbstractFileSystem, root: str, url: str) -> str:
    """Where core.yaml is: at the root or one folder below it; ends with a slash unless it is empty."""
    found = sorted(str(path) for path in filesystem.glob(f"{root}*/{DEFINITIONS}"))
    if filesystem.isfile(f"{root}{DEFINITIONS}"):
        return root
    if len(found) != 1:
        raise StageError(f"{url} is no bundle of CORE: {len(found)} folders in it have a {DEFINITIONS}, one must")
    return found[0].removesuffix(DEFINITIONS)


def _copy_all(filesystem: fsspec.AbstractFileSystem, place: str, paths: tuple[str, ...], folder: Path) -> None:
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if filesystem.isfile(f"{place}{path}"):
            filesystem.get_file(f"{place}{path}", str(target))
