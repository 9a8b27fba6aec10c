"""Tool calls while an answer is written: what stands between the Python markers is evaluated, its result forced in.

    <|python_start|> expression <|python_end|>      the model writes
    <|output_start|> result <|output_end|>          the engine forces in, as in training

An expression that is refused gives its one-line reason as the result, so the model never continues from a place
that it did not see in training. Results are encoded as text: none can become a special token.
"""

from __future__ import annotations

from core.data.tokenizer import Tokenizer
from core.inference.calculator import CalculatorError, calculate


class Tools:
    """The calculator behind the four markers of a tokenizer; shared by any number of requests."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.python_start = tokenizer.special("<|python_start|>")
        self.python_end = tokenizer.special("<|python_end|>")
        self.output_start = tokenizer.special("<|output_start|>")
        self.output_end = tokenizer.special("<|output_end|>")

    def listen(self) -> ToolListener:
        """Follow one answer."""
        return ToolListener(self)

    def output(self, expression: str) -> list[int]:
        """What follows a call, with both markers."""
        try:
            result = calculate(expression)
        except CalculatorError as error:
            result = f"error: {error}"
        return [self.output_start, *self.tokenizer.encode(result), self.output_end]


class ToolListener:
    """The calls of one answer as its tokens come."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._expression: list[int] | None = None  # None: outside a call

    def hear(self, token: int) -> list[int]:
        """Take one token that the model wrote; return the tokens to force in after it, mostly none."""
        if token == self._tools.python_start:
            self._expression = []
        elif token == self._tools.python_end and self._expression is not None:
            expression = self._tools.tokenizer.decode(self._expression)
            self._expression = None
            return self._tools.output(expression)
        elif self._expression is not None:
            self._expression.append(token)
        return []
