"""One file of a dataset on the Hugging Face Hub, read over HTTP with `huggingface_hub`'s client.

The endpoint is `HF_ENDPOINT`, the token the one of `HF_TOKEN` or `hf auth login`; it does not follow a redirect to
another host. Retry-After and the Hub's rate limit headers say how long to wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported, but not in a way that mypy sees
    build_hf_headers,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from core.data.corpus.transfer import Announced, Body, TransferBroken
from core.stages.context import StageError, StageUnavailable

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
CHECK_NETWORK = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run it again"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """`name` in the dataset `repository` at `revision`; `missing` is what to do when it is not there."""

    repository: str
    revision: str
    name: str
    missing: str

    @property
    def url(self) -> str:
        """Where the Hub resolves it."""
        return hf_hub_url(self.repository, self.name, repo_type="dataset", revision=self.revision)

    def announced(self) -> Announced:
        """Size, the sha256 of a large file, and the commit that `revision` is now."""
        with self._errors():
            found = get_hf_file_metadata(self.url)
        sha256 = found.etag if found.etag and SHA256.fullmatch(found.etag) else None
        return Announced(size=found.size, sha256=sha256, version=found.commit_hash)

    @contextmanager
    def open(self, offset: int) -> Iterator[Body]:
        """Read from `offset` on; from 0 when the server sends the whole file. Pieces come as they arrive.

        Larger ones would be lost with the connection that brings them.
        """
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with self._errors(), get_session().stream("GET", self.url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            yield Body(offset if response.status_code == 206 else 0, response.iter_bytes())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The client's errors, told apart by whether they pass."""
        where = f"{self.repository} has given no {self.name} at {self.revision}"
        try:
            yield
        except GatedRepoError as error:
            raise StageError(f"{where}: the dataset is gated; ask for access and set HF_TOKEN") from error
        except RepositoryNotFoundError as error:
            raise StageError(f"{where}: the Hub knows no such dataset, or HF_TOKEN may not read it") from error
        except RevisionNotFoundError as error:
            raise StageError(f"{where}: the dataset has no such revision; pin one that exists") from error
        except EntryNotFoundError as error:
            raise StageError(f"{where}: the dataset has no such file; {self.missing}") from error
        except OfflineModeIsEnabled as error:
            raise StageUnavailable(f"{where}: no answer ({_first_line(error)}); {CHECK_NETWORK}") from error
        except HfHubHTTPError as error:
            status, headers = error.response.status_code, error.response.headers
            if status in PASSING:
                raise TransferBroken(f"{where}: {_first_line(error)}", wait_asked_for(headers)) from error
            if status >= 500:
                raise StageUnavailable(f"{where}: no answer ({_first_line(error)}); {CHECK_NETWORK}") from error
            raise StageUnavailable(
                f"{where}: {_first_line(error)}; check HF_TOKEN and HF_ENDPOINT, then run it again"
            ) from error
        except httpx2.HTTPError as error:
            raise TransferBroken(f"{where}: no answer ({_first_line(error)}); {CHECK_NETWORK}") from error


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` or an exhausted rate limit asks for; None when neither does."""
    after = headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
