"""Destination `hub`: repositories on the Hugging Face Hub, one commit and one tag `v{n}` for everything that changed.

Guarantees: a reader of `main` sees the old revision or the new one; what others committed meanwhile stays below ours; a
public repository never receives what a recipe keeps private, and a new one is private until `release`. Every step
compares before it changes, so it can be killed or lose an answer anywhere and be done again: no commit or tag twice.
The token comes from the environment or from `hf auth login`, and is never shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from core.publishing.hub_errors import one_line_errors
from core.publishing.hub_files import HubFiles
from core.publishing.patience import Patience, ResultT
from core.publishing.repository import (
    INDEX,
    Difference,
    Published,
    Repository,
    RepositoryFile,
    decode_index,
    decode_version,
    encode_index,
    next_version,
)
from core.stages.context import StageError


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the Hub has of one repository at its newest commit."""

    commit: str | None  # None: there is no such repository
    private: bool
    files: Mapping[str, RepoSibling]
    index: bytes
    tags: Mapping[str, str]  # name -> commit

    @cached_property
    def listed(self) -> dict[str, str]:
        """sha256 by path, as its index says."""
        return decode_index(self.index)

    @property
    def version(self) -> int:
        """Of its index."""
        return decode_version(self.index)

    def difference(self, repository: Repository) -> Difference:
        """What a commit would have to change."""
        changed = tuple(file for file in repository.files if not is_same(self.files.get(file.path), file))
        removed = sorted((self.listed.keys() & self.files.keys()) - repository.hashes.keys())
        relisted = not self.version or self.listed != repository.hashes
        return Difference(version=self.version, changed=changed, removed=tuple(removed), relisted=relisted)


class HubDestination:
    """The Hub that `api` talks to."""

    def __init__(self, api: HfApi, scratch: Path, say: Callable[[str], None], patience: Patience) -> None:
        """`scratch` is a folder for what is read back from the Hub; `say` is told of every wait."""
        self._api = api
        self._scratch = scratch
        self._say = say
        self._patience = patience

    @classmethod
    def open(cls, scratch: Path, say: Callable[[str], None], patience: Patience | None = None) -> HubDestination:
        """The Hub of `HF_ENDPOINT` or huggingface.co; raises `StageError` without a token."""
        if get_token() is None:
            raise StageError(
                "there is no Hugging Face token to publish with; set HF_TOKEN, run `hf auth login`, or store one in "
                "the Prefect Secret block hf-token"
            )
        disable_progress_bars()  # the stage reports its own
        return cls(HfApi(), scratch, say, patience or Patience())

    def compare(self, repository: Repository) -> Difference:
        """By sha256 for large files, by git's own hash for the others: no file but the index is downloaded."""
        return self._tried(repository.id, lambda: self._look(repository)).difference(repository)

    def published(self, repository: Repository) -> HubFiles:
        """Read at its newest commit."""
        folder = self._scratch / "published" / repository.id
        return HubFiles(repository.id, folder, self._api, self._say, self._patience)

    def publish(self, repository: Repository, distrusted: Collection[str] = ()) -> Published:
        """Commit the difference on top of the revision that was compared; `distrusted` adds nothing, all is compared.

        A branch that moved meanwhile is compared again. A version that was committed but not tagged gets its tag.
        """
        seen: list[Difference] = []  # of every try: the first says what there was to do

        def bring_about() -> Published:
            self._api.create_repo(repository.id, private=True, exist_ok=True)
            there = self._look(repository)
            check_visibility(repository, there)
            seen.append(there.difference(repository))
            if there.version and f"v{there.version}" not in there.tags:
                self._tag(repository.id, there.version, self._commit_of(repository.id, there.version) or there.commit)
            commit, version = there.commit, there.version
            if seen[-1]:
                version = next_version(there.version, there.tags)
                commit = self._commit(repository, there, seen[-1], version)
                self._tag(repository.id, version, commit)
            url = f"{self._api.endpoint}/{repository.id}"
            return Published(
                url=url, commit=commit, version=version, written=len(seen[0].changed), removed=len(seen[0].removed)
            )

        return self._tried(repository.id, bring_about)

    def release(self, repositories: Sequence[Repository], collection: str | None) -> None:
        """Show those that are not private, then add to the collection those that it lacks."""
        for repository in repositories:
            if not repository.private:
                self._tried(repository.id, partial(self._show, repository))
        if collection is not None:
            self._tried(f"collection {collection!r}", lambda: self._collect(repositories, collection))

    def _tried(self, what: str, step: Callable[[], ResultT]) -> ResultT:
        def in_one_line() -> ResultT:
            with one_line_errors(f"{what} cannot be published", self._api.endpoint):
                return step()

        return self._patience.keep_trying(in_one_line, self._say)

    def _look(self, repository: Repository) -> Standing:
        try:
            info = self._api.model_info(repository.id, files_metadata=True)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:  # a token that is not known sees no repository
                raise
            return Standing(commit=None, private=True, files={}, index=b"", tags={})
        tags = {tag.name: tag.target_commit for tag in self._api.list_repo_refs(repository.id).tags}
        files = {sibling.rfilename: sibling for sibling in info.siblings or []}
        there = Standing(commit=info.sha, private=bool(info.private), files=files, index=b"", tags=tags)
        index = self._download(repository, there, INDEX).read_bytes() if INDEX in files else b""
        return Standing(commit=info.sha, private=bool(info.private), files=files, index=index, tags=tags)

    def _download(self, repository: Repository, there: Standing, path: str) -> Path:
        folder = self._scratch / repository.id
        return Path(self._api.hf_hub_download(repository.id, path, revision=there.commit, local_dir=folder))

    def _commit(self, repository: Repository, there: Standing, difference: Difference, version: int) -> str:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(file.path, file.source) for file in difference.changed),
            *(CommitOperationDelete(path) for path in difference.removed),
            CommitOperationAdd(INDEX, encode_index(repository.hashes, version)),
        ]
        message = f"v{version}: {len(difference.changed)} changed files, {len(difference.removed)} removed"
        commit = self._api.create_commit(repository.id, operations, commit_message=message, parent_commit=there.commit)
        return commit.oid

    def _commit_of(self, repository_id: str, version: int) -> str | None:
        """The commit that brought a version, among those that others may have put on top of it."""
        commits = self._api.list_repo_commits(repository_id)
        return next((commit.commit_id for commit in commits if commit.title.startswith(f"v{version}: ")), None)

    def _tag(self, repository_id: str, version: int, commit: str | None) -> None:
        self._api.create_tag(repository_id, tag=f"v{version}", revision=commit, exist_ok=True)

    def _show(self, repository: Repository) -> None:
        if self._api.model_info(repository.id).private:
            self._api.update_repo_settings(repository.id, private=False)

    def _collect(self, repositories: Sequence[Repository], title: str) -> None:
        private = any(repository.private for repository in repositories)
        namespace = repositories[0].namespace
        collection = self._api.create_collection(title, namespace=namespace, private=private, exists_ok=True)
        there = {item.item_id for item in collection.items}
        for repository in repositories:
            if repository.id not in there:
                self._api.add_collection_item(collection.slug, repository.id, item_type="model", exists_ok=True)


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


def check_visibility(repository: Repository, there: Standing) -> None:
    """Raise `StageError` for a public repository that the recipe keeps private. The other way round it is not yet."""
    if repository.private and not there.private:
        raise StageError(
            f"{repository.id} exists and is public, the recipe says private; "
            "change the one in its settings on the Hub or the other in the recipe"
        )
