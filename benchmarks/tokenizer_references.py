"""What GPT-2's and GPT-4's vocabularies make of the texts on which tokenizers are evaluated, recomputed.

    TIKTOKEN_CACHE_DIR=DIR python -m benchmarks.tokenizer_references [--write]

tiktoken verifies both vocabularies by sha256, and downloads what DIR does not hold. GPT-2's is `r50k_base`, the same
tokens under its later name. Without a network, PyPI has them: `llama-index-core` carries `cl100k_base` in
`_static/tiktoken_cache`, `openai-whisper` GPT-2's as `assets/gpt2.tiktoken`. In DIR a file is named by the sha1 of its
URL (in `tiktoken_ext.openai_public`). Prints the numbers and whether they are those recorded; `--write` records them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import tiktoken

from core.data.tokenizer_evaluation import FOLDER, REFERENCES_FILE, TEXTS, References, described, references, text_of

ENCODINGS = {"gpt2": "r50k_base", "cl100k_base": "cl100k_base"}  # what we call it -> what tiktoken calls it


def measured() -> References:
    """Every text, by every reference."""
    encodings = {name: tiktoken.get_encoding(encoding) for name, encoding in ENCODINGS.items()}
    return References(
        made_by=f"benchmarks.tokenizer_references, tiktoken {version('tiktoken')}",
        vocabulary_sizes={name: encoding.n_vocab for name, encoding in encodings.items()},
        texts=tuple(
            described(text, {name: len(one.encode_ordinary(text_of(text))) for name, one in encodings.items()})
            for text in TEXTS
        ),
    )


def main() -> int:
    """Print, compare, perhaps write; 1 when the recorded numbers are others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {REFERENCES_FILE}")
    arguments = parser.parse_args()
    found = measured()
    for text in found.texts:
        counts = ", ".join(f"{name} {count} ({text.bytes / count:.2f})" for name, count in text.tokens.items())
        print(f"{text.name}: {text.bytes} bytes; tokens (bytes per token): {counts}")
    if arguments.write:
        record = json.dumps(asdict(found), indent=2) + "\n"
        Path(str(FOLDER / REFERENCES_FILE)).write_text(record, encoding="utf-8")
        return 0
    same = (found.texts, found.vocabulary_sizes) == (references().texts, references().vocabulary_sizes)
    print("as recorded" if same else f"not as recorded in {REFERENCES_FILE}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
