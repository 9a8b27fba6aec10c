"""The Prefect profile that lets the plain `prefect` command, in any shell of this user, find our server.

It is called `miniseries`, holds what the active profile held and our server's address, and is the active one until
`miniseries down` puts the profiles file back as it was, byte for byte. What a user changed in the meantime is kept:
then only our profile is taken out.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from flows.local.folder import InstallationFolder
from flows.local.record import ProfileChange

NAME = "miniseries"


def activate_profile(folder: InstallationFolder, api_url: str) -> ProfileChange:
    """Write and activate the profile; what was there before is kept in the folder."""
    from prefect.settings import PREFECT_API_URL, get_current_settings, load_profiles, save_profiles

    path = get_current_settings().profiles_path
    assert path is not None
    before = path.read_bytes() if path.exists() else None
    _keep(folder.profiles_before, before)
    profiles = load_profiles(include_defaults=False)
    active = profiles.active_name
    inherited = profiles[active].settings if active in profiles.names else {}
    profiles.update_profile(NAME, {**inherited, PREFECT_API_URL: api_url}, source=path)
    profiles.set_active(NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_profiles(profiles)
    return ProfileChange(
        path=str(path), existed=before is not None, active_before=active, sha256=_sha256(path.read_bytes())
    )


def restore_profile(folder: InstallationFolder, change: ProfileChange) -> None:
    """Put the profiles file back as it was, or take our profile out of what it has become."""
    path = Path(change.path)
    if path.exists():
        if _sha256(path.read_bytes()) != change.sha256:
            _take_out(path, change.active_before)
        elif change.existed:
            _replace(path, folder.profiles_before.read_bytes())
        else:
            path.unlink()
    folder.profiles_before.unlink(missing_ok=True)


def profile_decides() -> bool:
    """Whether the profiles file says which profile is active, and not the environment."""
    return not os.environ.get("PREFECT_PROFILE")


def _take_out(path: Path, active_before: str | None) -> None:
    from prefect.settings import PREFECT_PROFILES_PATH, load_profiles, save_profiles, temporary_settings

    with temporary_settings({PREFECT_PROFILES_PATH: path}):
        profiles = load_profiles(include_defaults=False)
        if NAME in profiles.names:
            profiles.remove_profile(NAME)
            if profiles.active_name == NAME:
                profiles.set_active(active_before, check=False)
            save_profiles(profiles)


def _keep(place: Path, content: bytes | None) -> None:
    if content is not None:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            sink.write(content)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    temporary.chmod(path.stat().st_mode & 0o777)
    temporary.replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
