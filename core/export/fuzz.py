"""Random texts and conversations at which two tokenizers, or two chat templates, would part: the same for one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from core.posttraining.conversation import Conversation, Message, Part, user

PIECES = (  # contractions, digit groups, white space, line ends, combining and wide characters, markup, template syntax
    *(
        "fox",
        " the",
        "Straße",
        "naïve",
        "привет",
        "你好",
        "नमस्ते",
        "שלום",
        "'s",
        "'LL",
        "''",
        "n't",
        "_x1",
        "--",
        "...!",
    ),
    *("1", "12", "1234567", "3.14", "½", "²", " ", "  ", "\t", "\n", "\r\n", "\n\n\n", "\u00a0", "\u3000", "\u2028"),
    *("e\u0301", "\u0301", "☕️", "\U0001f469\u200d\U0001f467", "🇫🇷", "\u200d", "\ufeff", "\x00", "\x7f", "\x85"),
    *("<|", "|>", "<|bos|>", "<|assistant_end|>", "</s>", "{{ x }}", "{%", "#}", "\\n", '"', "<b>", "&amp;"),
)
SURROGATES = range(0xD800, 0xE000)  # no characters
CODE_POINTS = 0x110000


def random_texts(seed: int, count: int) -> Iterator[str]:
    """Texts of up to twelve pieces, each from `PIECES` or any code point."""
    chooser = random.Random(seed)
    for _ in range(count):
        yield "".join(_piece(chooser) for _ in range(chooser.randrange(13)))


def random_conversations(seed: int, count: int) -> Iterator[Conversation]:
    """Conversations of one to five turns, whose answers call Python as training data do.

    An output follows a call, another output or nothing: a text right before one is beyond what a template's mask can
    express (see `core.export.chat_template`). Texts spell no special token, which a template would make one.
    """
    chooser = random.Random(seed)
    for _ in range(count):
        turns = range(chooser.randrange(1, 6))
        yield Conversation(tuple(user(_words(chooser)) if turn % 2 == 0 else _random_answer(chooser) for turn in turns))


def _piece(chooser: random.Random) -> str:
    if chooser.random() < 0.7:
        return chooser.choice(PIECES)
    code = chooser.randrange(CODE_POINTS)
    return chooser.choice(PIECES) if code in SURROGATES else chr(code)


def _words(chooser: random.Random) -> str:
    text = "".join(_piece(chooser) for _ in range(chooser.randrange(6)))
    return text.replace("<|", "<")


def _random_answer(chooser: random.Random) -> Message:
    parts: list[Part] = []
    for _ in range(chooser.randrange(1, 7)):
        if parts and parts[-1].kind == "text":
            parts.append(Part(chooser.choice(("text", "python")), _words(chooser)))
        else:
            parts.append(Part(chooser.choice(("text", "python", "python_output")), _words(chooser)))
    return Message("assistant", tuple(parts))
