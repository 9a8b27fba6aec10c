"""A loader written the straightforward way, after nanochat's rule: what packing is compared with.

Token lists as tiktoken returns them, 128 documents at a time; for every piece of a row, one look at the whole buffer
for the largest document that fits, and at its end one for the shortest, to crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from core.data.corpus.artifact import read_documents
from core.data.tokenizer import Tokenizer

BATCH_DOCUMENTS = 128


def token_lists(path: Path, tokenizer: Tokenizer, threads: int) -> Iterator[list[int]]:
    """[bos, tokens] of every document of a shard."""
    for texts in read_documents(path, BATCH_DOCUMENTS):
        for tokens in tokenizer.encoding.encode_ordinary_batch(texts, num_threads=threads):
            tokens.insert(0, tokenizer.bos)
            yield tokens


def scanned_rows(documents: Iterable[list[int]], capacity: int, buffer_documents: int) -> Iterator[np.ndarray]:
    """Full rows uint32 [capacity]: the same as best-fit packing's."""
    waiting = iter(documents)
    buffer: list[list[int]] = []
    row: list[int] = []
    while True:
        while len(buffer) < buffer_documents and (document := next(waiting, None)) is not None:
            buffer.append(document)
        if not buffer:
            return
        space = capacity - len(row)
        best, longest = -1, 0
        for index, document in enumerate(buffer):
            if longest < len(document) <= space:
                best, longest = index, len(document)
        if best < 0:
            best = min(range(len(buffer)), key=lambda index: len(buffer[index]))
        row += buffer.pop(best)[:space]
        if len(row) == capacity:
            yield np.array(row, dtype=np.uint32)
            row = []
