"""What a question looks like as tokens, and where its answer begins."""

from __future__ import annotations

from typing import Any

import pytest
from core_bench import CONTEXT

from core.data.tokenizer import Tokenizer
from core.evaluation.core_metric.bundle import Task
from core.evaluation.core_metric.example import Example, Option
from core.evaluation.core_metric.prompt import Prompter
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

MERGES = (" r", "ed", " red", "at", " cat", ":\n")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Bytes, a few pieces of words with the blank before them, and a colon that swallows a line end."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    return Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks | {one.encode(): 256 + n for n, one in enumerate(MERGES)})


def prompter(tokenizer: Tokenizer, *examples: Example, **fields: Any) -> Prompter:
    task = {"label": "toy", "path": "toy.jsonl", "shots": 0, "delimiter": " ", "baseline": 0.0, **fields}
    return Prompter(
        task=Task(**task),
        examples=examples,
        shots_seed=1234,
        tokenizer=tokenizer,
        opening=(tokenizer.bos,),
        context_tokens=CONTEXT,
    )


def answers(tokenizer: Tokenizer, asked: Prompter) -> list[str]:
    spans = asked.prompt(0).spans
    return [tokenizer.decode(span.tokens[span.start :]) for span in spans]


def test_multiple_choice_compares_what_follows_the_tokens_that_all_begin_with(tokenizer: Tokenizer) -> None:
    example = Example((Option("A fire is", "red"), Option("A fire is", "rot"), Option("A fire is", "cat")), 0)
    assert answers(tokenizer, prompter(tokenizer, example, type="multiple_choice")) == [" red", " rot", " cat"]


def test_an_option_that_another_begins_with_still_has_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    example = Example((Option("Is it", "no"), Option("Is it", "none")), 0)
    assert answers(tokenizer, prompter(tokenizer, example, type="multiple_choice")) == ["o", "one"]


def test_a_schema_compares_the_tokens_that_all_end_with(tokenizer: Tokenizer) -> None:
    example = Example(
        (Option("The cat saw the dog, the cat", "ran."), Option("The cat saw the dog, the dog", "ran.")), 0
    )
    assert answers(tokenizer, prompter(tokenizer, example, type="schema")) == [" ran.", " ran."]


def test_the_blank_before_an_answer_is_part_of_the_answer(tokenizer: Tokenizer) -> None:
    example = Example((Option("The fire was", "red"),), 0)
    prompt = prompter(tokenizer, example, type="language_modeling", delimiter="\nAnswer: ").prompt(0)
    (span,) = prompt.spans
    assert tokenizer.decode(span.tokens[: span.start]) == "<|bos|>The fire was\nAnswer:"
    assert tokenizer.decode(span.tokens[span.start :]) == " red"
    assert not prompt.unaligned


def test_an_answer_that_changes_the_tokens_before_it_begins_where_they_part(tokenizer: Tokenizer) -> None:
    example = Example((Option("Say", "\nred"),), 0)
    prompt = prompter(tokenizer, example, type="language_modeling", delimiter=":").prompt(0)
    (span,) = prompt.spans
    assert tokenizer.decode(span.tokens[span.start :]) == ":\nred"
    assert prompt.unaligned


def test_shots_stand_before_the_question_with_their_right_answers(tokenizer: Tokenizer) -> None:
    examples = [Example((Option(f"q{n}", "bad"), Option(f"q{n}", f"good{n}")), 1) for n in range(4)]
    asked = prompter(tokenizer, *examples, type="multiple_choice", shots=3)
    first = tokenizer.decode(asked.prompt(0).spans[0].tokens)
    *shots, question = first.removeprefix("<|bos|>").split("\n\n")
    assert question == "q0 bad"
    assert sorted(shots) == ["q1 good1", "q2 good2", "q3 good3"]
    orders = {tuple(tokenizer.decode(asked.prompt(n).spans[0].tokens).split("\n\n")[:-1]) for n in range(4)}
    assert len(orders) == 4


def test_a_text_that_is_longer_than_the_context_keeps_its_end(tokenizer: Tokenizer) -> None:
    example = Example((Option("z" * 200, "red"), Option("z" * 200, "cat")), 0)
    prompt = prompter(tokenizer, example, type="multiple_choice").prompt(0)
    assert prompt.cropped
    assert [len(span.tokens) for span in prompt.spans] == [CONTEXT, CONTEXT]
    assert [tokenizer.decode(span.tokens[span.start :]) for span in prompt.spans] == [" red", " cat"]


def test_of_an_answer_that_is_itself_too_long_the_end_is_measured(tokenizer: Tokenizer) -> None:
    example = Example((Option("q", "z" * 200),), 0)
    (span,) = prompter(tokenizer, example, type="language_modeling").prompt(0).spans
    assert (len(span.tokens), span.start) == (CONTEXT, 1)
