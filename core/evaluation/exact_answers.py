"""How many answers a model gives to the letter, without generating one.

Greedy decoding reproduces a reference answer exactly if and only if, given the reference so far, the likeliest next
token is the reference's at every supervised position: where it first is not, the texts part. So one forward pass
over question and answer decides. What the model does not say itself (the output of Python) is given to it, as a
chat engine that runs the call would do. This is a measure for tasks whose question decides the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.model.loss import IGNORED, split_rows
from core.model.transformer import Transformer
from core.posttraining.rendering import Rendered

BATCH = 16


def exact_answers(model: Transformer, conversations: Sequence[Rendered]) -> list[bool]:
    """For each whole (not truncated) conversation, whether greedy decoding gives all its answers exactly."""
    found: list[bool] = []
    for start in range(0, len(conversations), BATCH):
        found += _exact_in_batch(model, conversations[start : start + BATCH])
    return found


@torch.inference_mode()
def _exact_in_batch(model: Transformer, conversations: Sequence[Rendered]) -> list[bool]:
    longest = max(len(conversation.tokens) for conversation in conversations)
    tokens = np.zeros((len(conversations), longest), dtype=np.int64)  # on the right, attention is causal: any id pads
    mask = np.zeros_like(tokens)
    for row, conversation in enumerate(conversations):
        tokens[row, : len(conversation.tokens)] = conversation.tokens
        mask[row, : len(conversation.mask)] = conversation.mask
    inputs, targets = (part.to(model.device) for part in split_rows(tokens, mask))  # [B, T]
    supervised = targets != IGNORED
    predicted = model.logits(model.hidden(inputs)[supervised]).argmax(dim=-1)  # [number of supervised targets]
    missed = torch.zeros_like(supervised)
    missed[supervised] = predicted != targets[supervised]
    return [not any_missed for any_missed in missed.any(dim=1).tolist()]
