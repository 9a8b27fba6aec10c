"""Files of public benchmarks, from the mirror: present and of the digest that the recipe names, or one clear error.

A benchmark that the recipe does not name is missing, which is a result; one that it names and that cannot be read is an
error, since the same recipe must mean the same everywhere.
"""

from __future__ import annotations

from pathlib import Path

from core.data.corpus.mirror import VARIABLE, mirrored_dataset
from core.data.corpus.transfer import sha256_of
from core.posttraining.tasks.data_files import local_copies, reading
from core.recipes.recipe import Benchmark, PinnedFile
from core.stages.context import StageError

REPOSITORIES = {"longbench": "THUDM/LongBench", "nolima": "amodaresi/NoLiMa"}


def benchmark_files(benchmark: Benchmark) -> dict[str, Path]:
    """Local copies of the benchmark's files by path. Raises `StageError` for a wrong digest or without a mirror."""
    repository = REPOSITORIES[benchmark.name]
    root = mirrored_dataset(repository, benchmark.revision)
    if root is None:
        raise StageError(
            f"the recipe asks for {benchmark.name}: set {VARIABLE} to a folder or bucket that has "
            f"datasets/{repository}/resolve/{benchmark.revision}/, or take it out of evaluation.long_context.benchmarks"
        )
    return {file.path: _copy(root, file) for file in benchmark.files}


def _copy(root: str, file: PinnedFile) -> Path:
    url = f"{root}/{file.path}"
    with reading(url):
        (path,) = local_copies([url])
        digest = sha256_of(path)
    if digest != file.sha256:
        raise StageError(f"{url}: its sha256 is {digest}, not {file.sha256[:12]}...; correct the file or the recipe")
    return path
