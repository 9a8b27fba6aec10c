"""The model under evaluation: weights, state and tokenizer together, on the best device at hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from core.data.tokenizer import Tokenizer
from core.inference.generate import generate
from core.inference.sampling import Sampling
from core.inference.speaker import Speaker
from core.inference.tools import Tools
from core.model.checkpoint import ModelState, load_model, load_state
from core.model.transformer import Transformer
from core.stages.context import StageError


@dataclass(frozen=True)
class Subject:
    """A trained model with all that is needed to read and write text with it."""

    model: Transformer
    state: ModelState
    tokenizer: Tokenizer

    @classmethod
    def load(cls, model_folder: Path, tokenizer_folder: Path) -> Subject:
        """Load to the GPU, in bfloat16 unless it was trained in float32, or to the CPU in float32.

        Raises `StageError` when model and tokenizer have different vocabularies.
        """
        state, tokenizer = load_state(model_folder), Tokenizer.load(tokenizer_folder)
        if state.architecture.vocabulary_size != tokenizer.vocabulary_size:
            raise StageError(
                f"the model reads {state.architecture.vocabulary_size:,} tokens, the tokenizer has "
                f"{tokenizer.vocabulary_size:,}; evaluate it with the tokenizer that it was trained with"
            )
        on_gpu = torch.cuda.is_available()
        dtype = torch.bfloat16 if on_gpu and state.precision != "fp32" else torch.float32
        return cls(load_model(model_folder, "cuda" if on_gpu else "cpu", dtype), state, tokenizer)

    @cached_property
    def speaker(self) -> Speaker:
        """How it is spoken to."""
        return Speaker(self.tokenizer, self.state.direction)

    def written(
        self, prompt: Sequence[int], sampling: Sampling, stop_tokens: Collection[int], tools: Tools | None = None
    ) -> list[int]:
        """What the model writes after `prompt`, in the order of writing; less than asked where its context ends."""
        context = self.state.sequence_length
        room = context - len(prompt)
        if room < 1:
            return []
        within = replace(sampling, max_tokens=min(sampling.max_tokens, room))
        [ids] = generate(self.model, [prompt], within, stop_tokens=stop_tokens, context_tokens=context, tools=tools)
        return ids
