"""Which store and which cache: `MINISERIES_STORE`, `MINISERIES_CACHE` and its size, or the user's own folders.

A store is a folder (a path or `file://`) or a bucket (`s3://bucket/prefix`). Credentials are refused in the
URL, because it is passed on to other processes and shown; S3 credentials, endpoint and region come from where every S3
client takes them (`AWS_*` variables, profiles, instance roles).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import platformdirs

from artifacts.errors import StoreError
from artifacts.redaction import redact

APPLICATION = "miniseries"
CACHE_GB = 20.0  # two packed groups of the full-size recipes are 1.3 GB, a trained d20 with its optimizer is 4 GB
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class Location:
    """A parsed store URL: a local folder, or a bucket and a prefix in it."""

    url: str  # canonical, without a trailing slash, without credentials
    folder: Path | None
    bucket: str = ""
    prefix: str = ""

    @property
    def identifier(self) -> str:
        """16 characters that tell this store's share of a cache from another store's; endpoints count."""
        endpoint = (
            "" if self.folder else os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        )
        return hashlib.sha256(f"{endpoint} {self.url}".encode()).hexdigest()[:16]


def store_location(url: str | None = None) -> Location:
    """Parse `url`, or `MINISERIES_STORE`, or the default: a folder in the user's data directory."""
    text = url or os.environ.get("MINISERIES_STORE") or str(Path(platformdirs.user_data_dir(APPLICATION)) / "store")
    if not SCHEME.match(text):
        return _folder(Path(text))
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        raise StoreError(
            f"store {redact(text)}: a store URL carries no credentials and no parameters; "
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL instead"
        )
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return _folder(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        prefix = parts.path.strip("/")
        return Location(f"s3://{parts.netloc}/{prefix}".rstrip("/"), None, parts.netloc, prefix)
    raise StoreError(f"store {redact(text)} is not understood; use a folder, file:///folder or s3://bucket/prefix")


def cache_folder(folder: Path | None = None) -> Path:
    """`folder`, or `MINISERIES_CACHE`, or the default under the user's cache directory."""
    chosen = folder or os.environ.get("MINISERIES_CACHE") or platformdirs.user_cache_dir(APPLICATION)
    return Path(chosen).expanduser().absolute()


def cache_limit() -> int:
    """Bytes of copies that the cache may hold: `MINISERIES_CACHE_GB`, or 20 GB. A property of the machine."""
    text = os.environ.get("MINISERIES_CACHE_GB", "")
    try:
        gigabytes = float(text) if text else CACHE_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 < gigabytes < float("inf"):
        raise StoreError(
            f"MINISERIES_CACHE_GB={text!r} is no size; set gigabytes above 0, or unset it (default {CACHE_GB:g})"
        )
    return int(gigabytes * 1e9)


def _folder(path: Path) -> Location:
    absolute = Path(os.path.abspath(path.expanduser()))
    return Location(absolute.as_uri(), absolute)
