"""Tool calls while a model writes: evaluated, forced in, and inert when hostile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from core.data.tokenizer import Tokenizer
from core.inference.engine import End, Engine, Request, Token
from core.inference.sampling import Sampling
from core.inference.tools import Tools
from core.model.transformer import Transformer

Scripted = Callable[[Sequence[int]], Transformer]


def answered(
    scripted: Scripted, tokenizer: Tokenizer, expression: str, max_tokens: int = 60
) -> list[tuple[str, str] | str]:
    """What an engine reports of a model that calls Python with one token and ends its turn: (text, origin), end."""
    start, call, called, printed, end = (
        tokenizer.special(f"<|{name}|>")
        for name in ("assistant_start", "python_start", "python_end", "output_end", "assistant_end")
    )
    [token] = [rank for text, rank in tokenizer.ranks.items() if text == expression.encode()]
    model = scripted([start, call, token, called, printed, end])
    model.lm_head.weight.data[printed, called] = 0  # after a call it depends on the output what is written
    engine = Engine(model, context_tokens=64, slots=1)
    sampling = Sampling(max_tokens=max_tokens, temperature=0)
    engine.add(Request(prompt=(start,), sampling=sampling, stop_tokens=frozenset({end}), tools=Tools(tokenizer)))
    found: list[tuple[str, str] | str] = []
    while not engine.is_idle:
        for event in engine.step():
            match event:
                case Token(_, token, origin):
                    found.append((tokenizer.decode([token]), origin))
                case End(_, reason):
                    found.append(reason)
    return found


def test_a_call_is_evaluated_and_its_output_forced_in(scripted: Scripted, tokenizer: Tokenizer) -> None:
    assert answered(scripted, tokenizer, "12*3") == [
        ("<|python_start|>", "model"),
        ("12*3", "model"),
        ("<|python_end|>", "model"),
        ("<|output_start|>", "tool"),
        ("3", "tool"),
        ("6", "tool"),
        ("<|output_end|>", "tool"),
        "stop",
    ]


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("9**9**9", "error: the number is too large"),
        ("__import__('os')", "error: Call is not allowed: only arithmetic"),
        ("<|bos|>", "error: not an expression"),
    ],
)
def test_a_hostile_call_gets_one_line_as_its_output(
    scripted: Scripted, tokenizer: Tokenizer, expression: str, output: str
) -> None:
    *events, reason = answered(scripted, tokenizer, expression)
    forced = "".join(text for text, origin in events if origin == "tool")
    assert forced.startswith(f"<|output_start|>{output}")
    assert reason in ("stop", "length")


def test_output_counts_as_written_and_ends_where_the_tokens_do(scripted: Scripted, tokenizer: Tokenizer) -> None:
    events = answered(scripted, tokenizer, "12*3", max_tokens=5)
    assert events[-2:] == [("3", "tool"), "length"]


def test_without_a_start_an_end_calls_nothing_and_a_second_start_begins_anew(tokenizer: Tokenizer) -> None:
    tools = Tools(tokenizer)
    listener = tools.listen()
    assert listener.hear(tools.python_end) == []
    for token in (tools.python_start, *tokenizer.encode("99"), tools.python_start, *tokenizer.encode("1+1")):
        assert listener.hear(token) == []
    assert tokenizer.decode(listener.hear(tools.python_end)) == "<|output_start|>2<|output_end|>"
    assert listener.hear(tools.python_end) == []
