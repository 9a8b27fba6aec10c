"""The cloze task: which of four words stood at the end of a passage, or, read backward, at its beginning.

A model that reads forward is given the passage without its last word and finds it by likelihood: the candidate whose
tokens, given the text before them, have the largest sum of log-probabilities. One that reads backward is given the same
passage without its first word, from its end, as it was trained to read. Candidates are equally long, so nothing is
divided by a length. Guessing is right one time in four.

A passage that does not fit the context keeps the part beside the gap. `cloze.jsonl` has a line for each passage and
way, and models that are asked the same passages are compared in pairs of (way, passage).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import assert_never

import numpy as np
import torch

from core.data.direction import Reading, Way, readings
from core.data.tokenizer import Tokenizer
from core.evaluation.batches import batches_by_length
from core.evaluation.cloze_passages import CANDIDATES, HiddenWord, Passage
from core.evaluation.measurement import Measurement, wilson_interval
from core.evaluation.subject import Subject
from core.model.transformer import Transformer

BATCH_TOKENS = 16_384  # in one pass, padding included
GAP = "____"
CHANCE = 1 / CANDIDATES
RESULT_OF_WAY = {"forward": "cloze_last_word", "backward": "cloze_first_word"}


@dataclass(frozen=True, kw_only=True)
class ClozeTrial:
    """One passage read in one way: a line of `cloze.jsonl`."""

    way: Way
    passage: int
    document: int  # row of the held-out shard
    text: str  # with a gap where the word is hidden
    candidates: tuple[str, ...]
    right: int
    chosen: int
    correct: bool
    log_likelihoods: tuple[float, ...]  # nats


@dataclass(frozen=True)
class Gap:
    """A passage with one word taken out, as tokens in the order of the text: what is given, and the candidates."""

    text: str
    given: np.ndarray  # [n]
    hidden: HiddenWord
    candidates: tuple[np.ndarray, ...]


def cloze_trials(subject: Subject, passages: Sequence[Passage]) -> list[ClozeTrial]:
    """Ask about every passage in every way in which the model reads."""
    ways = readings(subject.state.direction, subject.tokenizer)
    return [trial for way, reading in ways.items() for trial in _of_way(subject, way, reading, passages)]


def cloze_results(trials: Sequence[ClozeTrial]) -> dict[str, Measurement]:
    """The share of words found, by the name of the measurement; ways without a trial have none."""
    results = {}
    for way, name in RESULT_OF_WAY.items():
        verdicts = [trial.correct for trial in trials if trial.way == way]
        if verdicts:
            results[name] = Measurement(
                value=sum(verdicts) / len(verdicts),
                unit=f"share of hidden words found among {CANDIDATES}",
                sample_size=len(verdicts),
                sample_unit="passages",
                interval=wilson_interval(sum(verdicts), len(verdicts)),
            )
    return results


def _of_way(subject: Subject, way: Way, reading: Reading, passages: Sequence[Passage]) -> list[ClozeTrial]:
    gaps = [_gap(subject.tokenizer, way, passage) for passage in passages]
    sequences = [
        _sequence(reading, way, gap.given, word, subject.state.sequence_length)
        for gap in gaps
        for word in gap.candidates
    ]
    targets = [len(word) for gap in gaps for word in gap.candidates]
    found = _log_likelihoods(subject.model, sequences, targets)
    trials = []
    for number, (passage, gap) in enumerate(zip(passages, gaps, strict=True)):
        likely = found[CANDIDATES * number : CANDIDATES * (number + 1)]
        chosen = int(np.argmax(likely))
        trials.append(
            ClozeTrial(
                way=way,
                passage=number,
                document=passage.document,
                text=gap.text,
                **asdict(gap.hidden),
                chosen=chosen,
                correct=chosen == gap.hidden.right,
                log_likelihoods=tuple(likely),
            )
        )
    return trials


def _gap(tokenizer: Tokenizer, way: Way, passage: Passage) -> Gap:
    """Hide the word that comes last in the way of reading. A word and the blank before it are tokens of their own."""
    match way:
        case "forward":
            given, hidden = passage.before_last, passage.last
            text = f"{given} {GAP}"
        case "backward":
            given, hidden = passage.after_first, passage.first
            text = f"{GAP}{given}"
        case _:
            assert_never(way)
    words = tuple(tokenizer.encode_array(f" {word}") for word in hidden.candidates)
    return Gap(text, tokenizer.encode_array(given), hidden, words)


def _sequence(reading: Reading, way: Way, given: np.ndarray, word: np.ndarray, context: int) -> np.ndarray:
    """Ids [at most context + 1] as the model reads them, the candidate last; of what is given, the part beside it."""
    room = max(0, context + 1 - len(reading.opening) - len(word))
    beside = given[max(0, len(given) - room) :] if way == "forward" else given[:room]
    parts = (beside, word) if way == "forward" else (word, beside)
    return reading.sequence(np.concatenate(parts))


def _log_likelihoods(model: Transformer, sequences: Sequence[np.ndarray], targets: Sequence[int]) -> list[float]:
    """The log-probability of the last `targets[i]` ids of each sequence, in nats."""
    found = np.zeros(len(sequences))
    for batch in batches_by_length([len(one) for one in sequences], BATCH_TOKENS):
        found[batch] = _batch(model, [sequences[index] for index in batch], [targets[index] for index in batch])
    values: list[float] = found.tolist()
    return values


@torch.inference_mode()
def _batch(model: Transformer, sequences: Sequence[np.ndarray], targets: Sequence[int]) -> np.ndarray:
    """Logits of the candidates' tokens only: shapes differ from batch to batch, so nothing here is compiled."""
    longest = max(map(len, sequences))
    tokens = np.zeros((len(sequences), longest), dtype=np.int64)  # on the right, attention is causal: any id pads
    asked = np.zeros((len(sequences), longest - 1), dtype=bool)
    for row, (sequence, count) in enumerate(zip(sequences, targets, strict=True)):
        tokens[row, : len(sequence)] = sequence
        asked[row, len(sequence) - 1 - count : len(sequence) - 1] = True
    read, places = torch.from_numpy(tokens).to(model.device), torch.from_numpy(asked).to(model.device)
    likely = model.logits(model.hidden(read[:, :-1])[places]).log_softmax(dim=-1)  # [number of asked tokens, V]
    each = likely.gather(1, read[:, 1:][places].unsqueeze(1)).squeeze(1).double().cpu().numpy()
    sums: np.ndarray = np.bincount(asked.nonzero()[0], weights=each, minlength=len(sequences))
    return sums
