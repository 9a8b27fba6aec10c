"""The old table of token lengths, which bits per byte of published nanochat models rest on.

nanochat before commit 2ce972a measured a token after a round trip through text: bytes that are no UTF-8 by themselves
became U+FFFD, three bytes. Such tokens counted too many bytes, so bits per byte read about 0.05 % lower than by the
raw bytes that `Tokenizer.token_bytes` counts. Both are reported where they differ.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.data.tokenizer import Tokenizer


def old_token_bytes(tokenizer: Tokenizer) -> npt.NDArray[np.int32]:
    """int32 [V]: bytes of each token's text in UTF-8, 0 for special tokens."""
    lengths = np.zeros(tokenizer.vocabulary_size, dtype=np.int32)
    for token, rank in tokenizer.ranks.items():
        lengths[rank] = len(token.decode("utf-8", errors="replace").encode("utf-8"))
    return lengths
