"""How to make a model again: the command, the code revision, and the keys that must come out."""

from __future__ import annotations

from core.data.corpus import python_docs
from core.lineage.lineage import Ancestor, Lineage
from core.publishing.card_markdown import code, listed
from core.publishing.card_training import read_source
from core.stages.kind import StageKind

PACKAGES = ("torch", "numpy", "rustbpe", "tiktoken", "safetensors")  # those that decide numerics and bytes


def reproduction_section(tag: str, layout: str, phase: str, lineage: Lineage) -> str:
    """Commands to copy, then what they must give."""
    export = f"miniseries export {tag} --phase {phase} --layout {layout} --to again"
    if not lineage.stages:
        return f"{code(export)}\n\nThe code revision and the store keys were not recorded."
    model = lineage.training[-1]
    *_, last = (model, *lineage.of_kind(StageKind.EXPORT_NATIVE, StageKind.EXPORT_HF))  # its code knew all these keys
    commands = [
        f"git checkout {last.revision}   # of the miniseries repository" if last.revision else "",
        "make setup && . .venv/bin/activate",
        f"miniseries plan {tag}   # the keys, before anything runs",
        f"{export}   # makes whatever is not there, publishes nothing",
        f"miniseries show {tag} {model.kind.value}   # key and sha256 of what was made",
    ]
    said = [*_keys(model), *_text(lineage), *_code(lineage), *_environment(model)]
    return f"{code(chr(10).join(filter(None, commands)))}\n\n{listed(said)}"


def _keys(model: Ancestor) -> list[str]:
    said = [
        f"The model's store key is `{model.key}`: a hash of everything that decides what it is (recipe, data "
        "revisions, seeds, and the keys of all that it was made from). An equal key means the same recipe."
    ]
    weights = next((file for file in model.files if file.path == "model.safetensors"), None)
    if weights:
        said.append(f"The trained weights in the store have sha256 `{weights.sha256}`.")
    return said


def _text(lineage: Lineage) -> list[str]:
    read = read_source(lineage)
    if read is None:
        return []
    source, revision = read
    from_python = source == python_docs.NAME
    note = ", which the Python that runs decides: another one gives other keys" if from_python else ""
    return [f"The text is `{source}` at revision `{revision}`{note}."]


def _code(lineage: Lineage) -> list[str]:
    """Which code made the stages; that a checkout had changes of its own is said, since a revision cannot tell them."""
    said = []
    revisions = list(dict.fromkeys(stage.revision for stage in lineage.stages if stage.revision))
    if len(revisions) > 1:
        named = ", ".join(f"`{revision[:12]}`" for revision in revisions)
        said.append(f"Stages were made at {len(revisions)} revisions of the code ({named}); `lineage.json` says which.")
    if changed := sum(stage.dirty is True for stage in lineage.stages):
        said.append(
            f"**{changed} of {len(lineage.stages)} stages were made with uncommitted changes** in the checkout, so the "
            "revision alone may not be the code that ran."
        )
    return said


def _environment(model: Ancestor) -> list[str]:
    packages = ", ".join(f"{name} {model.packages[name]}" for name in PACKAGES if name in model.packages)
    numerics = model.numerics
    if not packages:
        return []
    where = f"{numerics.get('world_size', 1)} x {model.device or 'cpu'}, Python {numerics.get('python', '')}"
    return [f"Made with {packages} on {where}. The same bits are promised only there; elsewhere, the same recipe."]
