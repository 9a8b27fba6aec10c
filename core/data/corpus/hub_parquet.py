"""Corpora that lie ready on the Hugging Face Hub as `shard_%05d.parquet`: fetched file by file, kept unchanged.

`huggingface_hub` checks the size of what it downloads and finds the token; the endpoint is `HF_ENDPOINT`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from core.data.corpus.artifact import shard_file
from core.stages.context import StageError, StageUnavailable


@dataclass(frozen=True, kw_only=True)
class HubParquet:
    """A dataset repository of numbered parquet shards with a string column `text`."""

    name: str
    repository: str
    validation_shard: int

    def write_shard(self, number: int, revision: str, target: Path, scratch: Path) -> None:
        """Download shard `number` into `scratch`, then move it to `target`; raise `StageError` with what to do."""
        file = shard_file(number)
        where = f"{self.repository} has given no {file} at {revision}"
        try:
            path = hf_hub_download(self.repository, file, repo_type="dataset", revision=revision, local_dir=scratch)
        except GatedRepoError as error:
            raise StageError(f"{where}: the dataset is gated; ask for access and set HF_TOKEN") from error
        except RepositoryNotFoundError as error:
            raise StageError(f"{where}: the Hub knows no such dataset, or HF_TOKEN may not read it") from error
        except RevisionNotFoundError as error:
            raise StageError(f"{where}: the dataset has no such revision; pin one that exists") from error
        except LocalEntryNotFoundError as error:
            reason = _first_line(error.__cause__ or error)
            raise StageUnavailable(
                f"{where}: no answer ({reason}); check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run it again"
            ) from error
        except EntryNotFoundError as error:
            raise StageError(
                f"{where}: the dataset has no such file; its last shard is {self.validation_shard}"
            ) from error
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise StageUnavailable(
                f"{where}: {_first_line(error)}; check HF_TOKEN and the network, then run it again"
            ) from error
        shutil.move(path, target)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
