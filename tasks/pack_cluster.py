"""The cluster that packs shard groups: `MINISERIES_PACK_CLUSTER` names its scheduler, unset means this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

FORMS = "dask://host:port (or tcp://, tls://), or ray://host:port"


@dataclass(frozen=True, kw_only=True)
class PackCluster:
    """The scheduler of a running cluster. What it demands for access is in the configuration of its own client."""

    kind: Literal["dask", "ray"]
    address: str  # as the cluster's own client takes it
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> PackCluster:
        """Read one of `FORMS`. Raises `ValueError` for anything else, credentials included."""
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if not host or not port or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("not an address of a scheduler")
        match parts.scheme:
            case "ray":
                return cls(kind="ray", address=f"ray://{parts.netloc}", host=host, port=port)
            case "dask" | "tcp":
                return cls(kind="dask", address=f"tcp://{parts.netloc}", host=host, port=port)
            case "tls":
                return cls(kind="dask", address=f"tls://{parts.netloc}", host=host, port=port)
        raise ValueError("not an address of a scheduler")
