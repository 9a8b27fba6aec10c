"""The byte-pair vocabulary as a `tokenizers` tokenizer: the same ids for every text, proven on all code points.

Method: bytes become the printable alphabet of GPT-2; the merge that made a token is recovered by running byte-pair
encoding on its bytes with only lower ranks, which leaves exactly two parts. One merge a token, in rank order.
Text that spells a special token becomes that token here, unless encoding is told `split_special_tokens=True`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex
from tokenizers import Tokenizer as HubTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.processors import TemplateProcessing

from core.data.tokenizer import Tokenizer
from core.stages.context import StageError

# Where splitting, bytes and normalisation could go apart: contractions, digit groups, runs of white space, line ends,
# combining and wide characters, code, text at the edges of the byte alphabet.
IDENTITY_TEXTS = (
    "",
    "Hello, world! It's 1999 and we'LL see: they'd've 12345.67890 (3,000) x_1=y2\n",
    "    def f(a, b):\n\t\treturn a**b  # ²³ ½\r\n\r\n  \n   x\u00a0y\u3000z  ",
    "naïve Ünïcödé e\u0301 नमस्ते 你好,世界。 привет שלום مرحبا ไทย",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 🇫🇷 ☕️ \ufeff\x00\x01\x7f\x85\u2028\U0010ffff",
    "''''s'S \"'t\" ...!!!???\n\n\n--- <|not a token|> <bos> </s>",
)


def printable_bytes() -> dict[int, str]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the n-th other one for U+0100 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in set(printable))
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + index) for index, byte in enumerate(others)}


def recover_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge made `token` of at least two bytes; raises `StageError` when none did."""
    limit, parts = ranks[token], [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        best = min(pairs)
        if best >= limit:
            raise StageError(f"token {limit} ({token!r}) cannot be made by merging tokens of lower rank")
        index = pairs.index(best)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def hub_tokenizer(tokenizer: Tokenizer) -> HubTokenizer:
    """Build the equivalent; raises `StageError` for a vocabulary that byte-pair merging did not make."""
    alphabet = printable_bytes()

    def printed(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    ordered = sorted(tokenizer.ranks, key=tokenizer.ranks.__getitem__)
    merges = [recover_merge(token, tokenizer.ranks) for token in ordered if len(token) > 1]
    hub = HubTokenizer(
        BPE(
            vocab={printed(token): rank for rank, token in enumerate(ordered)},
            merges=[(printed(left), printed(right)) for left, right in merges],
        )
    )
    hub.pre_tokenizer = Steps(
        [Split(Regex(tokenizer.pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    hub.decoder = ByteLevelDecoder()
    hub.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in tokenizer.special_tokens])
    bos = tokenizer.special_tokens[0]
    hub.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos)])
    return hub


def write_tokenizer_json(tokenizer: Tokenizer, path: Path) -> None:
    """Write `tokenizer.json` and check the file as it will be read; raises `StageError` at the first difference."""
    hub_tokenizer(tokenizer).save(str(path), pretty=True)
    check_identity(tokenizer, HubTokenizer.from_file(str(path)), IDENTITY_TEXTS)


def check_identity(tokenizer: Tokenizer, hub: HubTokenizer, texts: Sequence[str]) -> None:
    """Raise `StageError` unless both give every special token and every text the same ids, and the text back."""
    for name in tokenizer.special_tokens:
        if hub.token_to_id(name) != tokenizer.special(name):
            raise StageError(
                f"{name} became id {hub.token_to_id(name)} in tokenizer.json, it is {tokenizer.special(name)}"
            )
    for text in texts:
        ours, theirs = tokenizer.encode(text), hub.encode(text, add_special_tokens=False).ids
        if ours != theirs:
            raise StageError(f"tokenizer.json gives {text!r} the ids {theirs}, the tokenizer {ours}")
        if hub.decode(theirs) != text:
            raise StageError(f"tokenizer.json decodes the ids of {text!r} as {hub.decode(theirs)!r}")
