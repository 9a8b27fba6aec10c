"""Where an artifact comes from besides its identity: the code's revision, package versions, machine, time.

No environment variable, no remote URL and no command line is recorded: any of them can hold a secret.
"""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "miniseries",
    "torch",
    "numpy",
    "tiktoken",
    "rustbpe",
    "tokenizers",
    "safetensors",
    "pyarrow",
    "transformers",
    "huggingface_hub",
    "s3fs",
    "prefect",
)
GIT_SECONDS = 10.0


def capture(checkout: Path | None = None) -> dict[str, object]:
    """Return what can be known when an attempt starts; `checkout` defaults to the folder this code is in."""
    folder = checkout or Path(__file__).resolve().parent.parent
    revision = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain") if revision else None
    return {
        "revision": revision,
        "dirty": None if changes is None else bool(changes),
        "packages": _versions(),
        "python": platform.python_version(),
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in `folder`; None without git, without a checkout of its own, or without an answer."""
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    """Installed versions of the packages that decide numerics and formats."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
