"""Letters by logits, in padded batches, against one prompt at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.tokenizer import Tokenizer
from core.evaluation import letters
from core.evaluation.letters import Choice, likeliest_letters
from core.model.transformer import Transformer

PROMPTS = st.lists(st.integers(0, 255), min_size=1, max_size=40).map(tuple)
OFFERED = st.permutations("ABCDE").flatmap(lambda order: st.integers(1, 5).map(lambda count: tuple(order[:count])))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.builds(Choice, PROMPTS, OFFERED), max_size=9))
def test_the_likeliest_letter_is_that_of_each_prompt_alone(
    model: Transformer, tokenizer: Tokenizer, choices: list[Choice]
) -> None:
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(letters, "BATCH_TOKENS", 64)  # several batches
        found = likeliest_letters(model, tokenizer, choices)
        for choice, letter in zip(choices, found, strict=True):
            row = model(torch.tensor([choice.prompt]))[0, -1]
            assert letter in choice.letters
            best = max(float(row[ord(each)]) for each in choice.letters)
            assert float(row[ord(letter)]) == pytest.approx(best, abs=1e-5)
