"""The one tool of the models: a Python expression of numbers and letter counts, evaluated without Python's evaluator.

The expression is parsed, and its tree walked by an allow-list: + - * / // % ** and signs on numbers, and `.count` of
one string literal in another. Its length, its depth and the size of every number are limited before anything is
computed, so each evaluation ends within a millisecond and there is nothing to interrupt.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from math import isfinite, log2

MAX_CHARACTERS = 256
MAX_DEPTH = 32
MAX_BITS = 256  # of every integer on the way

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class CalculatorError(ValueError):
    """An expression that is not evaluated: one line that says why."""


def calculate(expression: str) -> str:
    """What Python would print for `expression`; thousands separators are removed from numbers first.

    Raises `CalculatorError` for whatever is not on the allow-list, too large, or undefined.
    """
    if len(expression) > MAX_CHARACTERS:
        raise CalculatorError(f"longer than {MAX_CHARACTERS} characters")
    if "'" not in expression and '"' not in expression:
        expression = expression.replace(",", "")
    if "\\" in expression:
        raise CalculatorError("backslashes are not allowed")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CalculatorError("not an expression") from None
    try:
        return str(_evaluate(tree.body, MAX_DEPTH))
    except ZeroDivisionError:
        raise CalculatorError("division by zero") from None
    except OverflowError:
        raise CalculatorError("the number is too large") from None


def _evaluate(node: ast.expr, depth: int) -> Number:
    if depth == 0:
        raise CalculatorError(f"nested more than {MAX_DEPTH} deep")
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return _check(value)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _check(_UNARY[type(sign)](_evaluate(operand, depth - 1)))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            a, b = _evaluate(left, depth - 1), _evaluate(right, depth - 1)
            if isinstance(operation, ast.Pow):
                _check_power(a, b)
            return _check(_BINARY[type(operation)](a, b))
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(text)), attr="count"),
            args=[ast.Constant(value=str(wanted))],
            keywords=[],
        ):
            return text.count(wanted)
        case _:
            raise CalculatorError(f"{type(node).__name__} is not allowed: only arithmetic, and .count on a string")


def _check(value: object) -> Number:
    if not isinstance(value, (int, float)):
        raise CalculatorError("the result is not a real number")
    if value.bit_length() > MAX_BITS if isinstance(value, int) else not isfinite(value):
        raise CalculatorError("the number is too large")
    return value


def _check_power(base: Number, exponent: Number) -> None:
    """Refuse before it is computed what would have more than `MAX_BITS` bits."""
    if abs(base) > 1 and abs(exponent) * log2(abs(base)) > MAX_BITS:
        raise CalculatorError("the number is too large")
