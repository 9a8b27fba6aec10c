"""Where `miniseries up` keeps its record, logs and database: one folder in the user's state directory, for one user.

Only one `up` or `down` is at work in it at a time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from artifacts.errors import StoreError


class InstallationError(StoreError):
    """What `miniseries up` or `down` cannot do: one line that says what and what to do."""


@dataclass(frozen=True)
class InstallationFolder:
    """The folder, and what is where in it."""

    path: Path

    @property
    def mark(self) -> str:
        """What the environment of every process of this installation says."""
        return str(self.path)

    @property
    def record(self) -> Path:
        return self.path / "up.json"

    @property
    def prefect_home(self) -> Path:
        """PREFECT_HOME of our own server: its database, user interface and leases."""
        return self.path / "prefect"

    @property
    def profiles_before(self) -> Path:
        """Prefect's profiles file as it was before it was changed."""
        return self.path / "profiles-before.toml"

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self.path / "log" / f"{name}.log"


def installation_folder() -> InstallationFolder:
    """The folder of this user, made if need be; nobody else can read it."""
    path = Path(platformdirs.user_state_dir("miniseries")) / "up"
    (path / "log").mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)  # flows log what users call their things, and profiles may hold API keys
    return InstallationFolder(path)


@contextmanager
def at_work_alone(folder: InstallationFolder) -> Iterator[None]:
    """Keep every other `up` and `down` out until the block ends. Raises `InstallationError` when one is at work."""
    with (folder.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallationError(
                f"another `miniseries up` or `down` is at work in {folder.path}; wait for its end, then repeat this"
            ) from None
        os.set_inheritable(lock.fileno(), False)
        yield
