"""Reading texts of any length in bounded memory: a piece at a time through a key-value cache, logits for a few rows.

Alive at the peak for d20 (20 layers, n 1,280, h 3,456, V 32,768) at 32,768 tokens in bfloat16, on paper:
- weights 0.96 GB;
- the cache, 2 x 20 x 32,768 x 1,280 x 2 bytes = 3.36 GB, and its table of rotations, 2 x 32,768 x 128 x 4 = 34 MB;
- one piece of 4,096 tokens in one layer: residual stream and its norm 2 x 10 MB, queries and keys rotated in float32
  2 x 21 MB, queries, keys, values and the result 4 x 10 MB, the MLP 3 x 28 MB;
- the mask of a piece, 4,096 x 32,768 bytes = 0.13 GB, as an addend in bfloat16 0.27 GB;
- a chunk of logits (`core.model.loss`), 2^28 in bfloat16 and float32 = 1.6 GB;
- in shorter texts several at once: as many as hold 32,768 tokens, so nothing above grows.
That is less than 7 GB of an 80 GB GPU; all logits of one such text would be 4.3 GB in float32 alone, and its attention
matrix 43 GB a layer. Activations of a piece, not of the text: their peak does not depend on the text's length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.model.key_value_cache import KeyValueCache
from core.model.loss import hidden_nats
from core.model.transformer import Transformer

PIECE_TOKENS = 4096  # of each text, read in one pass
BATCH_TOKENS = 32_768  # of all texts that are read at once


def texts_at_once(length: int) -> int:
    """How many texts of `length` tokens are read together: at least one."""
    return max(1, BATCH_TOKENS // length)


def new_cache(model: Transformer, rows: int, capacity: int) -> KeyValueCache:
    """A cache that fits the model as it now reads."""
    table = model.transformer.wte.weight
    return KeyValueCache(
        model.architecture,
        rows=rows,
        capacity=capacity,
        device=table.device,
        dtype=table.dtype,
        scaling=model.scaling,
    )


def read_on(
    model: Transformer, cache: KeyValueCache, tokens: Tensor, piece_tokens: int = PIECE_TOKENS
) -> Iterator[Tensor]:
    """Let every row of the cache read its row of tokens [B, T]; yield the residual stream [B, t, n] of each piece."""
    for start in range(0, tokens.size(1), piece_tokens):
        piece = tokens[:, start : start + piece_tokens]
        yield model.hidden(piece, cache.window(0, [piece.size(1)] * len(piece)))


def long_nats(
    model: Transformer, texts: npt.NDArray[np.int64], piece_tokens: int = PIECE_TOKENS
) -> npt.NDArray[np.float64]:
    """Nats of each token but the first, given those before it, of texts [n, L+1]: [n, L]."""
    length = texts.shape[1] - 1
    at_once = texts_at_once(length)
    batches = [texts[start : start + at_once] for start in range(0, len(texts), at_once)]
    return np.concatenate([_batch_nats(model, batch, piece_tokens) for batch in batches])


@torch.no_grad()
def _batch_nats(model: Transformer, texts: npt.NDArray[np.int64], piece_tokens: int) -> npt.NDArray[np.float64]:
    tokens = torch.from_numpy(texts).to(model.device)
    length = tokens.size(1) - 1
    cache = new_cache(model, len(texts), length)  # gone before the next one is made
    streams = read_on(model, cache, tokens[:, :-1], piece_tokens)
    targets = (tokens[:, start : start + piece_tokens] for start in range(1, length + 1, piece_tokens))
    nats = [hidden_nats(model, stream, wanted) for stream, wanted in zip(streams, targets, strict=True)]
    found: npt.NDArray[np.float64] = torch.cat(nats, dim=1).double().cpu().numpy()
    return found
