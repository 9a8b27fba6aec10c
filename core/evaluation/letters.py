"""Multiple choice without generating: which of the offered letters is likeliest where the answer begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.data.tokenizer import Tokenizer
from core.evaluation.batches import batches_by_length
from core.model.transformer import Transformer

BATCH_TOKENS = 16_384  # of prompts in one pass, padding included


@dataclass(frozen=True)
class Choice:
    """A prompt after which one of `letters` is to be said."""

    prompt: tuple[int, ...]
    letters: tuple[str, ...]


def likeliest_letters(model: Transformer, tokenizer: Tokenizer, choices: Sequence[Choice]) -> list[str]:
    """The letter with the largest logit for each choice; of equals, the first that is offered.

    A letter is one character of ASCII, so it is one token in every byte-level vocabulary.
    """
    found = [""] * len(choices)
    for batch in batches_by_length([len(choice.prompt) for choice in choices], BATCH_TOKENS):
        _answer_batch(model, tokenizer, choices, batch, found)
    return found


@torch.inference_mode()
def _answer_batch(
    model: Transformer, tokenizer: Tokenizer, choices: Sequence[Choice], batch: Sequence[int], found: list[str]
) -> None:
    prompts = [choices[index].prompt for index in batch]
    longest = max(map(len, prompts))
    padded = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]  # attention is causal: any id pads
    hidden = model.hidden(torch.tensor(padded, device=model.device))  # [B, T, n]
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
    logits = model.logits(hidden[torch.arange(len(prompts), device=hidden.device), last]).cpu()  # [B, V]
    for index, row in zip(batch, logits, strict=True):
        letters = choices[index].letters
        tokens = [token for letter in letters for token in tokenizer.encode(letter)]
        found[index] = letters[int(row[tokens].argmax())]
