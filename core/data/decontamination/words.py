"""Text as words that compare equal whatever their case and punctuation, and a hash for every n of them in a row.

A word is what stands between white space, in lower case (folded), with everything but letters, digits and marks taken
out: the gram of GPT-3 (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C), in all scripts.
Hashes are 64 bits wide and made for a whole text at once; whoever needs certainty compares the words themselves.
"""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

BOUNDARY = "\udcff"  # stands before every document of a text: no valid text holds it
REMOVED, LETTER, SPACE, BETWEEN = range(4)  # what a character is to a word

BASE = 0x9E3779B97F4A7C13  # of the polynomials; odd, so that it has an inverse modulo 2^64
SEED = 0x9E3779B97F4A7C15

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Words:
    """The words of a text, in order."""

    letters: npt.NDArray[np.uint32]  # code points of all words, one word after another
    starts: npt.NDArray[np.int64]  # [words] where each begins in `letters`
    documents: npt.NDArray[np.int64]  # [words] number of its document in the text

    @classmethod
    def of(cls, text: str) -> Words:
        """Split `text`, in which `BOUNDARY` stands before every document; composed and decomposed letters are equal."""
        folded = text.casefold()
        if not folded.isascii():
            folded = unicodedata.normalize("NFC", folded)
        codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        kinds = _kinds()[codes]
        kept = kinds != REMOVED
        codes, kinds = codes[kept], kinds[kept]
        letter = kinds == LETTER
        edges = np.flatnonzero(np.diff(letter, prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        lengths = ends - begins
        documents = np.searchsorted(np.flatnonzero(kinds == BETWEEN), begins) - 1
        return cls(codes[letter], np.cumsum(lengths) - lengths, documents)

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, first: int, count: int) -> str:
        """Words [first, first + count) with a space between them."""
        ends = np.append(self.starts, len(self.letters))[first : first + count + 1]
        return " ".join(
            self.letters[start:end].astype("<u4").tobytes().decode("utf-32-le") for start, end in pairwise(ends)
        )

    def ngrams(self, count: int) -> tuple[npt.NDArray[np.int64], Hashes]:
        """First word [n] and hash [n] of every `count` words in a row that are all of one document."""
        if len(self) < count:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        whole = self.documents[: len(self) - count + 1] == self.documents[count - 1 :]
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(self._hashes() * _powers(len(self)))))
        hashes = (sums[count:] - sums[:-count]) * _inverse_powers(len(self))[: len(whole)]
        return np.flatnonzero(whole), _mixed(hashes[whole])

    def _hashes(self) -> Hashes:
        """One hash a word: a polynomial of its letters, wherever the word stands."""
        terms = _mixed(self.letters.astype(np.uint64)) * _powers(len(self.letters))
        return _mixed(np.add.reduceat(terms, self.starts) * _inverse_powers(len(self.letters))[self.starts])


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Of every code point: REMOVED, LETTER, SPACE or BETWEEN."""
    kinds = np.full(sys.maxunicode + 1, REMOVED, np.uint8)
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character.isspace():
            kinds[code] = SPACE
        elif unicodedata.category(character)[0] in "LMN":
            kinds[code] = LETTER
    kinds[ord(BOUNDARY)] = BETWEEN
    return kinds


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit."""
    mixed = values + np.uint64(SEED)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _powers(count: int) -> Hashes:
    """BASE to the power of 0 to `count` - 1, modulo 2^64."""
    return _table(BASE, max(16, (count - 1).bit_length()))[:count]


def _inverse_powers(count: int) -> Hashes:
    return _table(pow(BASE, -1, 1 << 64), max(16, (count - 1).bit_length()))[:count]


@cache
def _table(base: int, bits: int) -> Hashes:
    factors = np.full(1 << bits, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)
