"""`miniseries adopt`: a checkpoint that was trained elsewhere becomes an artifact of the store."""

from __future__ import annotations

from core.adoption.artifact import Adoption, adopt
from core.planning.stage import Stage
from flows.console import console, print_json
from flows.stopping import stop_once
from tasks.settings import settings_from_environment


def adopt_folder(adoption: Adoption) -> None:
    """Adopt a folder and say what it holds and how to go on. Raises `StageError`, `StoreError`."""
    store, out = settings_from_environment().open_store(), console()
    with stop_once():
        stage, manifest = adopt(adoption, store)
    found = manifest.metrics
    positions = f"RoPE, theta {found['rope_base']:g}" if found["use_rope"] else "no positions"
    optimizer = "with its optimizer" if found["optimizer"] else "no optimizer"
    what = f"{found['parameters']:,} parameters, step {found['step']:,}, {found['mlp']}, {positions}, {optimizer}"
    equal = f"{found['tensors_equal']} tensors read back equal"
    out.print(f"adopted {stage.name}: {what}; {equal}", markup=False, soft_wrap=True)
    out.print(f"key {stage.key}\nfiles in {store.path_of(stage.address)}", markup=False, soft_wrap=True)
    out.print(f"`miniseries export {stage.name}` writes it for other programs", markup=False, soft_wrap=True)


def adopt_folder_json(adoption: Adoption) -> None:
    """The same as JSON."""
    store = settings_from_environment().open_store()
    with stop_once():
        stage, manifest = adopt(adoption, store)
    print_json(_listing(stage, store.path_of(stage.address)) | {"metrics": manifest.metrics})


def _listing(stage: Stage, path: str) -> dict[str, object]:
    return {"key": stage.key, "kind": stage.kind.value, "name": stage.name, "path": path}
