"""Checks of an export's tokenizer and chat template against those that the model was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from core.data.tokenizer import Tokenizer
from core.export.certificate import Check, Compared, at_most
from core.export.fuzz import random_conversations, random_texts
from core.export.parity import Sample
from core.export.tokenizer_json import IDENTITY_TEXTS, printable_bytes
from core.posttraining.conversation import Conversation, conversation_json
from core.posttraining.rendering import render, render_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNLIMITED = 2**31  # tokens


def text_checks(
    tokenizer: Tokenizer, hub: PreTrainedTokenizerFast, folder: Path, sample: Sample, *, chats: bool
) -> Iterator[Check]:
    """Vocabulary and ids always, the chat template of a model that `chats`."""
    yield vocabulary_check(tokenizer, hub)
    yield tokenizer_check(tokenizer, hub, sample)
    if chats:
        yield template_check(tokenizer, hub, chat_templates(hub, folder), sample)


def vocabulary_check(tokenizer: Tokenizer, hub: PreTrainedTokenizerFast) -> Check:
    """Every id stands for the same bytes, or the same special token; none is missing, none too many."""
    alphabet = printable_bytes()
    ordered = sorted(tokenizer.ranks, key=tokenizer.ranks.__getitem__)
    expected = ["".join(alphabet[byte] for byte in token) for token in ordered] + list(tokenizer.special_tokens)
    count = max(len(hub), len(expected))
    found = hub.convert_ids_to_tokens(list(range(count)))
    padded = [*expected, *[None] * (count - len(expected))]
    wrong = [number for number, (one, other) in enumerate(zip(padded, found, strict=True)) if one != other]
    detail = f"id {wrong[0]} is {found[wrong[0]]!r}, trained as {padded[wrong[0]]!r}" if wrong else ""
    return at_most("vocabulary", len(wrong), 0, "ids differ", Compared(count, "ids"), detail)


def tokenizer_check(tokenizer: Tokenizer, hub: PreTrainedTokenizerFast, sample: Sample) -> Check:
    """Random texts have the ids that the model was trained on, behind one BOS, and come back from them."""
    texts = [*IDENTITY_TEXTS, *random_texts(sample.seed, sample.texts)]
    given = hub(texts, split_special_tokens=True)["input_ids"]
    wrong = [
        text
        for text, ids in zip(texts, given, strict=True)
        if ids != [tokenizer.bos, *tokenizer.encode(text)] or hub.decode(ids, skip_special_tokens=True) != text
    ]
    detail = f"the first is {wrong[0]!r}" if wrong else ""
    return at_most("tokenizer", len(wrong), 0, "texts differ", Compared(len(texts), "texts", sample.seed), detail)


def chat_templates(hub: PreTrainedTokenizerFast, folder: Path) -> tuple[str, ...]:
    """The template that transformers chose, and the one in the tokenizer's settings, which other programs read."""
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    return tuple(dict.fromkeys(template or "" for template in (hub.chat_template, settings.get("chat_template"))))


def template_check(
    tokenizer: Tokenizer, hub: PreTrainedTokenizerFast, templates: Sequence[str], sample: Sample
) -> Check:
    """Random conversations are rendered to the ids and the mask that training used, and prompts to those of chat."""
    conversations = list(random_conversations(sample.seed, sample.rendered))
    wrong = [
        conversation
        for template in templates
        for conversation in conversations
        if not renders_alike(tokenizer, hub, template, conversation)
    ]
    compared = Compared(len(templates) * len(conversations), "conversations", sample.seed)
    detail = f"the first is {conversation_json(wrong[0])['messages']!r:.200}" if wrong else ""
    return at_most("chat_template", len(wrong), 0, "conversations differ", compared, detail)


def renders_alike(
    tokenizer: Tokenizer, hub: PreTrainedTokenizerFast, template: str, conversation: Conversation
) -> bool:
    """Whether a template gives the ids and the mask of `core.posttraining.rendering`; false when it refuses."""
    expected = render(conversation, tokenizer, UNLIMITED)
    asked = conversation.before_answer()
    try:
        whole = hub.apply_chat_template(
            conversation_json(conversation)["messages"],
            chat_template=template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        prompt = hub.apply_chat_template(
            conversation_json(asked)["messages"],
            chat_template=template,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
        )
    except TemplateError:
        return False
    return (
        tuple(whole["input_ids"]) == expected.tokens
        and tuple(whole["assistant_masks"]) == expected.mask
        and prompt["input_ids"] == render_prompt(asked, tokenizer, UNLIMITED)
    )
