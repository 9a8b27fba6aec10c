"""One example of a CORE task: what may be said, each option in two parts, and which of them is right.

multiple_choice      query, choices, gold               one query, several endings
schema               context_options, continuation, gold    several beginnings, one ending
language_modeling    context, continuation              one of each; right if the model would write it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as parsed_dataclass

TaskType = Literal["multiple_choice", "schema", "language_modeling"]


@dataclass(frozen=True)
class Option:
    """A text in two parts, which the task's delimiter joins."""

    before: str
    after: str


@dataclass(frozen=True)
class Example:
    """The options, and the number of the right one."""

    options: tuple[Option, ...]
    gold: int


@parsed_dataclass(config=ConfigDict(extra="ignore", strict=True))
class _Choice:
    query: str
    choices: list[str]
    gold: int

    def example(self) -> Example:
        return Example(tuple(Option(self.query, choice) for choice in self.choices), self.gold)


@parsed_dataclass(config=ConfigDict(extra="ignore", strict=True))
class _Schema:
    context_options: list[str]
    continuation: str
    gold: int

    def example(self) -> Example:
        return Example(tuple(Option(context, self.continuation) for context in self.context_options), self.gold)


@parsed_dataclass(config=ConfigDict(extra="ignore", strict=True))
class _Continuation:
    context: str
    continuation: str

    def example(self) -> Example:
        return Example((Option(self.context.strip(), self.continuation),), 0)


_LINES: dict[TaskType, TypeAdapter[_Choice] | TypeAdapter[_Schema] | TypeAdapter[_Continuation]] = {
    "multiple_choice": TypeAdapter(_Choice),
    "schema": TypeAdapter(_Schema),
    "language_modeling": TypeAdapter(_Continuation),
}


def parse_example(kind: TaskType, line: str) -> Example:
    """The example in one line of JSON; raise ValueError that says what is wrong with it."""
    try:
        example = _LINES[kind].validate_json(line).example()
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()) from error
    if not 0 <= example.gold < len(example.options):
        raise ValueError(f"gold is {example.gold}, there are {len(example.options)} options")
    return example
