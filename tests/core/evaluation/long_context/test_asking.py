"""What is thought of candidates and what is written, against whole forward passes without a cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from long_context_bench import TRAINED, some_texts

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.asking import Asker, QueryRecord, TrialRecord, Writing, is_right, names_all
from core.evaluation.long_context.haystack import Haystack
from core.evaluation.long_context.methods import Method
from core.evaluation.long_context.needles import Frame, Kind, NeedleTrials, Trial
from core.inference.generate import generate
from core.inference.sampling import Sampling
from core.model.position_scaling import LogitScale, Yarn
from core.model.transformer import Transformer

LENGTH = 6 * TRAINED
STOP = ord("e")

Build = Callable[..., Transformer]


def trials(tokenizer: Tokenizer, kind: Kind, count: int) -> list[Trial]:
    documents = [tokenizer.encode_array(text) for text in some_texts([400, 900])]
    maker = NeedleTrials(
        tokenizer=tokenizer,
        frame=Frame(before=(tokenizer.bos,), after=tuple(tokenizer.encode("\n")), asks=False),
        held_out=Haystack.of_documents(documents, tokenizer),
        filler=Haystack.of_filler(tokenizer),
        room=180,
        choices=3,
        depths=3,
        seed=0,
    )
    return [maker.trial(kind, LENGTH, number) for number in range(count)]


@torch.no_grad()
def log_likelihood(model: Transformer, prompt: list[int], said: list[int]) -> float:
    """By one pass over everything."""
    logits = model(torch.tensor([[*prompt, *said]]))[0].double().log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(said) - 1)
    return sum(logits[place, token].item() for place, token in zip(places, said, strict=True))


def ways() -> list[tuple[bool, Method]]:
    scale = LogitScale(coefficient=0.5, trained_length=TRAINED)
    return [(True, Method("yarn", Yarn(factor=6, trained_length=TRAINED))), (False, Method("logit-scale", scale))]


@pytest.mark.parametrize("way", ways(), ids=["yarn", "logit-scale"])
def test_candidates_of_every_query_are_judged_as_by_reading_everything_at_once(
    build: Build, tokenizer: Tokenizer, way: tuple[bool, Method]
) -> None:
    use_rope, method = way
    model, asked = build(use_rope), trials(tokenizer, "multi-query", 3)
    with method.applied(model):
        records = Asker(model, tokenizer, None, piece_tokens=70).ask(asked, method.name, 6)
        for trial, record in zip(asked, records, strict=True):
            behind = list(trial.prompt)
            for query, found in zip(trial.queries, record.queries, strict=True):
                lead = tokenizer.encode(query.lead)
                expected = [
                    log_likelihood(model, [*behind, *lead], tokenizer.encode(f" {candidate}"))
                    for candidate in query.candidates
                ]
                assert found.candidates == query.candidates
                assert found.log_likelihoods == pytest.approx(expected, abs=2e-3)
                behind += [*lead, *tokenizer.encode(f" {query.wanted[0]}")]
            assert record.right == all(map(is_right, record.queries))
            assert (record.answer, record.answer_right) == (None, None)


def test_a_trial_is_judged_alike_whoever_it_is_asked_with(build: Build, tokenizer: Tokenizer) -> None:
    asker, asked = Asker(build(True), tokenizer, None), trials(tokenizer, "multi-value", 4)
    together = asker.ask(asked, "plain", 6)
    alone = [asker.ask([trial], "plain", 6)[0] for trial in asked]
    for one, other in zip(together, alone, strict=True):
        assert one.queries[0].log_likelihoods == pytest.approx(other.queries[0].log_likelihoods, abs=1e-3)


def test_answers_are_those_of_greedy_generation_and_end_at_a_stop(build: Build, tokenizer: Tokenizer) -> None:
    model, asked = build(False), trials(tokenizer, "single", 3)
    records = Asker(model, tokenizer, Writing(max_tokens=24, stops={STOP})).ask(asked, "plain", 6)
    sampling = Sampling(max_tokens=24, temperature=0)
    prompts = [trial.prompt for trial in asked]
    written = generate(model, prompts, sampling, stop_tokens={STOP}, context_tokens=LENGTH)
    assert [record.answer for record in records] == [tokenizer.decode(ids) for ids in written]


def record_of(**likelihoods: float) -> QueryRecord:
    return QueryRecord(
        lead="", wanted=("a", "b"), candidates=tuple(likelihoods), log_likelihoods=tuple(likelihoods.values())
    )


def test_a_query_is_right_when_all_that_is_wanted_is_likelier_than_everything_else() -> None:
    assert is_right(record_of(a=-1.0, b=-3.0, c=-3.5))
    assert not is_right(record_of(a=-1.0, b=-4.0, c=-3.5))
    assert not is_right(record_of(a=-1.0, b=-3.5, c=-3.5))  # a tie


def test_an_answer_is_right_when_it_names_everything_as_words_of_their_own() -> None:
    query = record_of(a=0, b=0)
    assert names_all("It is b, and a.", [query])
    assert not names_all("It is b.", [query])
    assert not names_all("It is ab.", [query])


def test_nothing_is_asked_when_there_are_no_trials(build: Build, tokenizer: Tokenizer) -> None:
    found: list[TrialRecord] = Asker(build(True), tokenizer, None).ask([], "plain", 1)
    assert found == []
