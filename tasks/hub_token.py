"""The Hugging Face token of a run: HF_TOKEN, else that of `hf auth login`, else the Prefect Secret block `hf-token`.

It reaches a stage through the environment of its process, never through its specification, and is never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from core.planning.stage import Stage
from core.stages.identity import PublishIdentity

BLOCK = "hf-token"
VARIABLE = "HF_TOKEN"


def hub_environment(stage: Stage) -> Mapping[str, str]:
    """What the process of a stage needs to publish to the Hub, beyond what it finds for itself."""
    if not isinstance(stage.identity, PublishIdentity) or stage.identity.destination != "hub":
        return {}
    from huggingface_hub import get_token  # here: its client takes a second that other stages need not pay

    token = None if get_token() is not None else _block()
    return {} if token is None else {VARIABLE: token}


@contextmanager
def in_hub_environment(stage: Stage) -> Iterator[None]:
    """The same for this process, while the block runs."""
    added = hub_environment(stage)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _block() -> str | None:
    """The value of the Secret block, None when the server has none of that name."""
    from prefect.blocks.system import Secret

    try:
        return str(Secret.load(BLOCK).get())  # type: ignore[union-attr]
    except ValueError:
        return None
