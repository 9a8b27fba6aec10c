"""The files of an export that are not its weights, the same for every layout that transformers reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from core.export.chat_template import CHAT_TEMPLATE
from core.export.hub_config import tokenizer_config
from core.export.source import Source
from core.export.tokenizer_json import write_tokenizer_json


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a document for people to read too."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(source: Source, folder: Path) -> None:
    """Write the tokenizer, its configuration and, for a fine-tuned model, its chat template."""
    write_tokenizer_json(source.tokenizer, folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", tokenizer_config(source.state, source.tokenizer))
    if source.state.phase == "sft":
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
