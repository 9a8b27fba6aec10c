"""The files of one repository on the Hub, at its newest commit; what is read lands in a scratch folder.

Reading is tried again like publishing: a busy Hub or a dropped connection is no finding of an audit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils.tqdm import disable_progress_bars

from artifacts.transfer import sha256_of
from core.publishing.hub_errors import one_line_errors
from core.publishing.patience import Patience, ResultT
from core.stages.context import StageError


class HubFiles:
    """Read at the commit that was the newest when this was made."""

    def __init__(self, name: str, scratch: Path, api: HfApi, say: Callable[[str], None], patience: Patience) -> None:
        """`say` is told of every wait. Raises `StageError` for a repository that cannot be seen."""
        disable_progress_bars()
        self.name = name
        self._scratch = scratch
        self._api = api
        self._say = say
        self._patience = patience
        info = self._tried(self._look)
        self.revision = info.sha
        self._files = {sibling.rfilename: sibling for sibling in info.siblings or []}

    def paths(self) -> list[str]:
        """What the commit holds."""
        return sorted(self._files)

    def sha256(self, path: str) -> str:
        """Of a large file as the Hub's storage is addressed; a small one is downloaded."""
        large = self._files[path].lfs
        return sha256_of(self.local(path)) if large is None else large.sha256

    def local(self, path: str) -> Path:
        """A download of the revision that is read."""

        def download() -> str:
            return self._api.hf_hub_download(self.name, path, revision=self.revision, local_dir=self._scratch)

        return Path(self._tried(download))

    def _look(self) -> ModelInfo:
        try:
            return self._api.model_info(self.name, files_metadata=True)
        except RepositoryNotFoundError:
            raise StageError(
                f"{self.name}: neither a folder here nor a repository that can be read on {self._api.endpoint}; "
                "check the name; for a private one set HF_TOKEN or run `hf auth login`"
            ) from None

    def _tried(self, step: Callable[[], ResultT]) -> ResultT:
        def in_one_line() -> ResultT:
            with one_line_errors(f"{self.name} cannot be read", self._api.endpoint):
                return step()

        return self._patience.keep_trying(in_one_line, self._say)
