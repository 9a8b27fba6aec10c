"""Which files of this interpreter the source `python-docs` reads, and the revision that names their contents.

Cheap to import and to ask: recipes need the revision before any stage runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import sysconfig
from functools import cache
from pathlib import Path

NAME = "python-docs"

# Tests, games and vendored tools; `encodings` is one boilerplate docstring a code page.
EXCLUDED = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "tkinter", "ensurepip", "distutils"}
    | {"antigravity", "this", "encodings", "site-packages", "__pycache__"}
)


@cache
def revision() -> str:
    """`cpython-3.11.7+` and 12 hex digits of the sha256 over the relative paths and contents of the sources."""
    digest = hashlib.sha256()
    for path in source_files():
        contents = (root() / path).read_bytes()
        digest.update(f"{path}\0{len(contents)}\0".encode())
        digest.update(contents)
    return f"{sys.implementation.name}-{platform.python_version()}+{digest.hexdigest()[:12]}"


@cache
def source_files() -> tuple[str, ...]:
    """Source files of the standard library that are read, relative to its root with `/`, sorted by module."""
    library, files = root(), []
    for module in sorted(sys.stdlib_module_names - EXCLUDED):
        if (library / f"{module}.py").is_file():
            files.append(f"{module}.py")
        for folder, folders, names in os.walk(library / module):
            folders[:] = sorted(set(folders) - EXCLUDED)
            relative = Path(folder).relative_to(library)
            files += [(relative / name).as_posix() for name in sorted(names) if name.endswith(".py")]
    return tuple(files)


def root() -> Path:
    """Folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))
