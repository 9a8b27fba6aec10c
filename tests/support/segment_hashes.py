"""What two pretraining segments must have in common to be the same to the bit."""

from __future__ import annotations

from running import Miniseries

WITHOUT_A_CLOCK = ("model.safetensors", "optimizer.safetensors", "loss.jsonl", "state.json")


def segment_hashes(store: Miniseries) -> dict[str, str]:
    """sha256 of everything in the only pretraining segment of a store that has no clock in it."""
    (manifest,) = store.manifests("pretrain")
    return {file["path"]: file["sha256"] for file in manifest["files"] if file["path"] in WITHOUT_A_CLOCK}
