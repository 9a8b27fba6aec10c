"""Destination `hub`: one repository on the Hugging Face Hub, one commit for everything that changed, or none.

Guarantees: a reader of `main` sees the old revision or the new one; a branch that moved meanwhile is not overwritten; a
public repository never receives what a recipe keeps private. The token comes from the environment or from
`hf auth login`, and is never shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from artifacts.redaction import redact
from core.publishing.repository import INDEX, Published, Repository, RepositoryFile, decode_index
from core.stages.context import StageError, StageUnavailable

ADVICE = {
    401: "the token is not valid; set HF_TOKEN or run `hf auth login`",
    403: "the token may not write there; use one with write access to the namespace",
    404: "it does not exist or the token cannot see it; check the namespace and the token's access",
    412: "it changed while it was being published; run again",
}


class HubDestination:
    """The Hub that `api` talks to."""

    def __init__(self, api: HfApi, scratch: Path) -> None:
        """`scratch` is a folder for what is read back from the Hub."""
        self._api = api
        self._scratch = scratch

    @classmethod
    def open(cls, scratch: Path) -> HubDestination:
        """The Hub of `HF_ENDPOINT` or huggingface.co; raises `StageError` without a token."""
        if get_token() is None:
            raise StageError("there is no Hugging Face token to publish with; set HF_TOKEN or run `hf auth login`")
        disable_progress_bars()  # the stage reports its own
        return cls(HfApi(), scratch)

    def publish(self, repository: Repository) -> Published:
        """Create the repository if need be, then commit the difference on top of the revision that was compared."""
        with one_line_errors(repository.id, self._api.endpoint):
            self._api.create_repo(repository.id, private=repository.private, exist_ok=True)
            info = self._api.model_info(repository.id, files_metadata=True)
            check_visibility(repository, info)
            there = {sibling.rfilename: sibling for sibling in info.siblings or []}
            changed = [file for file in repository.files if not is_same(there.get(file.path), file)]
            listed = self._listed(repository, info) if INDEX in there else {}
            removed = sorted((listed.keys() & there.keys()) - repository.hashes.keys())
            commit = info.sha
            if changed or removed or listed != repository.hashes:
                commit = self._commit(repository, info, changed, removed)
        return Published(f"{self._api.endpoint}/{repository.id}", commit, len(changed), len(removed))

    def _listed(self, repository: Repository, info: ModelInfo) -> dict[str, str]:
        folder = self._scratch / repository.id
        path = self._api.hf_hub_download(repository.id, INDEX, revision=info.sha, local_dir=folder)
        return decode_index(Path(path).read_bytes())

    def _commit(
        self, repository: Repository, info: ModelInfo, changed: list[RepositoryFile], removed: list[str]
    ) -> str:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(file.path, file.source) for file in changed),
            *(CommitOperationDelete(path) for path in removed),
            CommitOperationAdd(INDEX, repository.index),
        ]
        commit = self._api.create_commit(
            repository.id,
            operations,
            commit_message=f"Publish {len(changed)} changed and remove {len(removed)} old files",
            parent_commit=info.sha,
        )
        return commit.oid


def is_same(sibling: RepoSibling | None, file: RepositoryFile) -> bool:
    """Whether the Hub's file has these bytes: by sha256 for large files, by git's own hash for the others."""
    if sibling is None:
        return False
    if sibling.lfs is not None:
        return sibling.lfs.sha256 == file.sha256
    return sibling.size == file.bytes and sibling.blob_id == git_blob_id(file)


def git_blob_id(file: RepositoryFile) -> str:
    """sha1 of "blob <bytes>", a zero byte and the content: the id that git gives a file."""
    digest = hashlib.sha1(b"blob %d\0" % file.bytes)
    with file.source.open("rb") as source:
        while block := source.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def check_visibility(repository: Repository, info: ModelInfo) -> None:
    """Raise `StageError` for an existing repository that is not as private as the recipe says."""
    if info.private is not None and info.private != repository.private:
        words = {True: "private", False: "public"}
        raise StageError(
            f"{repository.id} exists and is {words[info.private]}, the recipe says {words[repository.private]}; "
            "change the one in its settings on the Hub or the other in the recipe"
        )


@contextmanager
def one_line_errors(repository_id: str, endpoint: str) -> Iterator[None]:
    """Turn what the client raises into a `StageError` that says what to do, without headers, bodies or signed URLs."""
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        advice = ADVICE.get(status, f"the Hub said: {error.server_message or 'nothing more'}; run again later")
        raise _failure(repository_id, f"{endpoint} answered {status}: {advice}") from None
    except (HTTPError, ConnectionError, LocalEntryNotFoundError) as error:
        why = f"{endpoint} is not reachable ({type(error).__name__})"
        advice = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run again"
        raise StageUnavailable(str(_failure(repository_id, f"{why}; {advice}"))) from None
    except (ValueError, RuntimeError) as error:  # a card or a name that the Hub refuses; an upload that broke off
        raise _failure(repository_id, str(error)) from None


def _failure(repository_id: str, why: str) -> StageError:
    return StageError(redact(f"{repository_id} cannot be published: {' '.join(why.split())}"))
