"""What the trained model and its export say to the same prompts: logits at some positions, and greedy continuations.

One model is in memory at a time. Answers of the trained model are kept at few positions of each prompt, so that even
those of a long prompt and a large vocabulary are megabytes; a position's logits depend on everything before it.

The work is bounded by the longest prompt, which two passes read; the third, of the unrounded model, reads short ones.
Prompts are continued side by side: a large model's weights are then read once a token, not once a token and prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.data.tokenizer import Tokenizer
from core.export.fuzz import random_conversations
from core.export.source import Source
from core.model.transformer import Transformer
from core.posttraining.rendering import render

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROSE = "The capital of France is Paris; in 1999 it had 2,125,246 people.\n\ndef f(x):\n    return x ** 2  # 你好\n"
EMBEDDING = "transformer.wte.weight"
LARGE_PARAMETERS = 100_000_000

Readout = Callable[[Transformer, Tensor], Tensor]  # the logits [P, V] that an export has to give, of hidden [P, n]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How much is compared, and the seed that draws it."""

    seed: int = 42
    lengths: int = 7  # of base prompts, from 1 to T, evenly spaced on a logarithmic scale
    conversations: int = 6  # chat prompts
    positions: int = 32  # of one prompt, the first and the last among them
    rounded: int = 256  # tokens of the longest prompt on which the rounding of the weights is measured
    flipped: int = 2  # prompts that are read with and without positions
    continued: int = 4  # prompts that are continued greedily
    continued_from: int = 24  # tokens of such a prompt, at most
    new_tokens: int = 16
    texts: int = 2000
    rendered: int = 200  # conversations through the chat template

    @classmethod
    def of(cls, parameters: int) -> Sample:
        """What is compared of a model of this size: a large one is continued by half as many tokens."""
        return cls(new_tokens=8) if parameters > LARGE_PARAMETERS else cls()


@dataclass(frozen=True)
class Prompts:
    """Token ids: int64 [T'] each."""

    base: tuple[Tensor, ...]
    chat: tuple[Tensor, ...]
    continued: tuple[Tensor, ...]


@dataclass(frozen=True)
class Continuation:
    """Greedy tokens, and how far the likeliest was ahead of the next at each step."""

    tokens: tuple[int, ...]
    leads: tuple[float, ...]


def draw_prompts(tokenizer: Tokenizer, length: int, sample: Sample) -> Prompts:
    """Prompts of 1 to `length` tokens: random ids and prose by turns, then rendered conversations."""
    generator = torch.Generator().manual_seed(sample.seed)
    prose = torch.tensor([tokenizer.bos, *tokenizer.encode(PROSE)])
    steps = range(sample.lengths)
    lengths = sorted({round(length ** (step / (sample.lengths - 1))) for step in steps})
    base = [
        torch.randint(0, tokenizer.vocabulary_size, (count,), generator=generator)
        if number % 2
        else prose.repeat(-(-count // len(prose)))[:count]
        for number, count in enumerate(reversed(lengths))
    ]
    chat = [
        torch.tensor(render(conversation, tokenizer, max_tokens=length).tokens)
        for conversation in random_conversations(sample.seed, sample.conversations)
    ]
    mixed = [prompt for pair in zip(base, chat, strict=False) for prompt in pair]
    continued = [prompt[: sample.continued_from] for prompt in mixed[: sample.continued]]
    return Prompts(tuple(base), tuple(chat), tuple(continued))


def native_model(source: Source, dtype: torch.dtype) -> Transformer:
    """The trained model with every weight rounded to `dtype`, computing in float32.

    Matrices stay in `dtype` and are cast where they are used; the dtype of the embedding is that of the computation.
    """
    state = source.state
    with torch.device("meta"):
        model = Transformer(state.architecture, use_rope=state.use_rope)
    weights = {name: tensor.to(dtype) for name, tensor in source.tensors()}
    model.load_state_dict(weights | {EMBEDDING: weights[EMBEDDING].float()}, assign=True)
    return model.eval()


def capped(model: Transformer, hidden: Tensor) -> Tensor:
    """The model's own logits."""
    return model.logits(hidden)


def uncapped(model: Transformer, hidden: Tensor) -> Tensor:
    """Logits before the tanh."""
    logits: Tensor = model.lm_head(hidden).float()
    return logits


@torch.inference_mode()
def native_logits(model: Transformer, prompts: Sequence[Tensor], sample: Sample, readout: Readout) -> list[Tensor]:
    """Logits [P, V] at P positions of each prompt."""
    return [readout(model, model.hidden(prompt[None])[0, kept(prompt, sample)]) for prompt in prompts]


@torch.inference_mode()
def exported_logits(model: PreTrainedModel, prompts: Sequence[Tensor], sample: Sample) -> list[Tensor]:
    """The same of an export."""
    return [
        model(input_ids=prompt[None], logits_to_keep=kept(prompt, sample), use_cache=False).logits[0].float()
        for prompt in prompts
    ]


def kept(prompt: Tensor, sample: Sample) -> Tensor:
    """The positions of a prompt whose logits are compared: evenly spaced, the first and the last among them."""
    count = min(len(prompt), sample.positions)
    return torch.linspace(0, len(prompt) - 1, count).round().long()


@torch.inference_mode()
def native_continuations(model: Transformer, prompts: Sequence[Tensor], new_tokens: int) -> list[Continuation]:
    """Continue greedily, reading everything anew for each token: nothing is remembered that could be wrong.

    Prompts of different lengths end in zeros, which no token before them sees.
    """
    rows, ends = torch.arange(len(prompts)), torch.tensor([len(prompt) for prompt in prompts])
    tokens = torch.zeros(len(prompts), int(ends.max()) + new_tokens, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    leads = torch.empty(len(prompts), new_tokens)
    for step in range(new_tokens):
        best = model.logits(model.hidden(tokens[:, : ends.max()])[rows, ends - 1]).topk(2)
        leads[:, step] = best.values[:, 0] - best.values[:, 1]
        tokens[rows, ends] = best.indices[:, 0]
        ends += 1
    return [
        Continuation(tuple(row[len(prompt) : end].tolist()), tuple(ahead.tolist()))
        for row, prompt, end, ahead in zip(tokens, prompts, ends, leads, strict=True)
    ]


def exported_continuations(
    model: PreTrainedModel, prompts: Sequence[Tensor], sample: Sample, padding: int
) -> list[tuple[int, ...]]:
    """Greedy tokens of an export: prompts one by one, with a cache."""
    return [row for prompt in prompts for row in padded_continuations(model, [prompt], sample, padding, use_cache=True)]


@torch.inference_mode()
def padded_continuations(
    model: PreTrainedModel, prompts: Sequence[Tensor], sample: Sample, padding: int, *, use_cache: bool
) -> list[tuple[int, ...]]:
    """Greedy tokens of an export: prompts of different lengths in one batch, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), longest), padding)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    output = model.generate(
        tokens,
        attention_mask=mask,
        max_new_tokens=sample.new_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=padding,
        use_cache=use_cache,
    )
    return [tuple(row) for row in output[:, longest:].tolist()]


def wrong_tokens(expected: Continuation, found: Sequence[int], tie: float) -> int:
    """How many tokens came after a wrong turn; none when the turn was taken at a lead of less than `tie`."""
    pairs = zip(expected.tokens, found, strict=True)
    step = next((step for step, (token, other) in enumerate(pairs) if token != other), None)
    if step is None or expected.leads[step] <= tie:
        return 0
    return len(found) - step


def largest_difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> tuple[float, int]:
    """The largest absolute difference of two lists of logits, and the prompt where it is; nan if anything is."""
    largest = torch.stack([(one - other).abs().max() for one, other in zip(expected, found, strict=True)])
    return float(largest.max()), int(largest.argmax())


def mean_divergence(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Kullback-Leibler divergence of next-token distributions from the expected ones, nats a position."""
    true, given = (torch.cat(list(logits)).double().log_softmax(-1) for logits in (expected, found))
    return float((true.exp() * (true - given)).sum(-1).mean())
