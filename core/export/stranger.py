"""An export as somebody meets it who has only the folder: loaded by transformers, offline.

Its code is copied to a scratch folder: nothing outside that is written, and no code of another export is found instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from core.stages.context import StageError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

REMOTE_PACKAGE = "transformers_modules"  # where transformers puts the code of a folder


@dataclass(frozen=True)
class Stranger:
    """What was loaded; `problems` are the tensors that the files lack, that nothing takes, or that do not fit."""

    config: PreTrainedConfig
    generation: GenerationConfig
    tokenizer: PreTrainedTokenizerFast
    model: PreTrainedModel  # float32, whatever the files hold
    problems: tuple[str, ...]


@contextmanager
def as_stranger(folder: Path, scratch: Path) -> Iterator[Stranger]:
    """Load an export; raises `StageError` when transformers cannot."""
    with _isolated(scratch / "modules"):
        try:
            yield _load(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise StageError(f"{folder}: transformers cannot use it: {' '.join(str(error).split())}") from error


def _load(folder: Path) -> Stranger:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    problems = [
        f"{name if isinstance(name, str) else name[0]} is {kind}"
        for kind in ("missing", "unexpected", "mismatched")
        for name in sorted(loading[f"{kind}_keys"])
    ]
    return Stranger(
        config=AutoConfig.from_pretrained(folder, trust_remote_code=True, local_files_only=True),
        generation=GenerationConfig.from_pretrained(folder, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        model=model.eval(),
        problems=tuple(problems),
    )


@contextmanager
def _isolated(modules: Path) -> Iterator[None]:
    """Point transformers' folder for remote code at `modules`, silence its progress bars; all as before afterwards."""
    from transformers import dynamic_module_utils
    from transformers.utils import logging

    before = dynamic_module_utils.HF_MODULES_CACHE, logging.get_verbosity(), list(sys.path)
    bars = logging.is_progress_bar_enabled()
    others = _take_remote_modules()
    dynamic_module_utils.HF_MODULES_CACHE = str(modules)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        dynamic_module_utils.HF_MODULES_CACHE, verbosity, sys.path[:] = before
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        _take_remote_modules()
        sys.modules.update(others)


def _take_remote_modules() -> dict[str, ModuleType]:
    """Remove the modules of remote code from the interpreter and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == REMOTE_PACKAGE]
    return {name: sys.modules.pop(name) for name in names}
