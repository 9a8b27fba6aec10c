"""Asking trials of one length, several at once: the likelihood of each candidate, and what the model writes by itself.

The text is read once, piece by piece; each candidate is then read behind it and forgotten again, and so is what the
model writes. A trial is right by likelihood when in every query each wanted candidate is likelier than every other
(log-probabilities of the candidate's tokens, summed); it is right by writing when the answer, taken greedily, names
everything that is wanted. Ties are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.needles import Needle, Query, Trial
from core.evaluation.long_context.reading import PIECE_TOKENS, new_cache, read_on, texts_at_once
from core.model.key_value_cache import KeyValueCache
from core.model.transformer import Transformer

WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class QueryRecord:
    """What was thought of each candidate of a query; `log_likelihoods` are in nats, in the order of `candidates`."""

    lead: str
    wanted: tuple[str, ...]
    candidates: tuple[str, ...]
    log_likelihoods: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial read in one way: one raw line. `answer` is None where the model was not asked to write."""

    method: str
    factor: int  # length / trained length
    kind: str
    number: int
    length: int
    prompt_tokens: int
    depth: float
    chance: float
    needles: tuple[Needle, ...]
    queries: tuple[QueryRecord, ...]
    right: bool
    answer: str | None
    answer_right: bool | None


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How answers are written: at most so many tokens, up to one of these."""

    max_tokens: int
    stops: Collection[int]


@dataclass(frozen=True)
class Asker:
    """A model that is asked; `writing` is None for one that cannot chat."""

    model: Transformer
    tokenizer: Tokenizer
    writing: Writing | None
    piece_tokens: int = PIECE_TOKENS

    def ask(self, trials: Sequence[Trial], method: str, factor: int) -> list[TrialRecord]:
        """Ask trials of one length and equally many queries, as the model now reads."""
        records: list[TrialRecord] = []
        at_once = texts_at_once(trials[0].length) if trials else 1
        for start in range(0, len(trials), at_once):
            records += self._ask_batch(trials[start : start + at_once], method, factor)
        return records

    @torch.inference_mode()
    def write(self, prompts: Sequence[Sequence[int]], capacity: int) -> list[str]:
        """What is written after prompts of one length; prompt and answer fit into `capacity` tokens."""
        cache = new_cache(self.model, len(prompts), capacity)
        return self._written(cache, self._read(cache, prompts))

    @torch.inference_mode()
    def _ask_batch(self, trials: Sequence[Trial], method: str, factor: int) -> list[TrialRecord]:
        cache = new_cache(self.model, len(trials), self._capacity(trials))
        last = self._read(cache, [trial.prompt for trial in trials])
        begin = list(cache.lengths)
        queries = [self._ask_queries(cache, [trial.queries[index] for trial in trials]) for index in _numbers(trials)]
        _go_back(cache, begin)
        answers = self._written(cache, last) if self.writing else [None] * len(trials)
        return [
            _record(trial, tuple(by_query), answer, method, factor)
            for trial, by_query, answer in zip(trials, zip(*queries, strict=True), answers, strict=True)
        ]

    def _capacity(self, trials: Sequence[Trial]) -> int:
        """Tokens of the longest row, padding included: what one row says, the others are padded to."""
        needed = max(len(trial.prompt) for trial in trials)
        for index in _numbers(trials):
            needed += max(
                len(self.tokenizer.encode(query.lead)) + len(self.tokenizer.encode(f" {candidate}"))
                for query in (trial.queries[index] for trial in trials)
                for candidate in query.candidates
            )
        return max(needed, trials[0].length)

    def _read(self, cache: KeyValueCache, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Let each row read its prompt, all of one length; the last residual stream of each, [B, n]."""
        tokens = torch.tensor([list(prompt) for prompt in prompts], device=self.model.device)
        *_, stream = read_on(self.model, cache, tokens, self.piece_tokens)
        return stream[:, -1]

    def _ask_queries(self, cache: KeyValueCache, queries: Sequence[Query]) -> list[QueryRecord]:
        """One query of each row; afterwards each row has read it with the first right answer."""
        begin = list(cache.lengths)
        found: list[list[float]] = [[] for _ in queries]
        for choice in range(max(len(query.candidates) for query in queries)):
            said = [query.candidates[min(choice, len(query.candidates) - 1)] for query in queries]
            for row, likelihood in enumerate(self._likelihoods(cache, queries, said)):
                found[row].append(likelihood)
            _go_back(cache, begin)
        self._likelihoods(cache, queries, [query.wanted[0] for query in queries])
        return [
            QueryRecord(
                lead=query.lead,
                wanted=query.wanted,
                candidates=query.candidates,
                log_likelihoods=tuple(likelihoods[: len(query.candidates)]),
            )
            for query, likelihoods in zip(queries, found, strict=True)
        ]

    def _likelihoods(self, cache: KeyValueCache, queries: Sequence[Query], said: Sequence[str]) -> list[float]:
        """Let each row read the lead of its query and what is said; nats of the latter, negated."""
        leads = [self.tokenizer.encode(query.lead) for query in queries]
        words = [self.tokenizer.encode(f" {word}") for word in said]
        counts = [len(lead) + len(word) for lead, word in zip(leads, words, strict=True)]
        rows = [[*lead, *word] for lead, word in zip(leads, words, strict=True)]
        padded = [[*row, *[0] * (max(counts) - len(row))] for row in rows]
        tokens = torch.tensor(padded, device=self.model.device)
        stream = self.model.hidden(tokens, cache.window(0, counts))  # [B, t, n]
        likelihoods = []
        for row, (lead, word) in enumerate(zip(leads, words, strict=True)):
            logits = self.model.logits(stream[row, len(lead) - 1 : len(lead) + len(word) - 1])
            chosen = logits.log_softmax(dim=-1).gather(1, torch.tensor(word, device=logits.device).unsqueeze(1))
            likelihoods.append(chosen.sum().item())
        return likelihoods

    def _written(self, cache: KeyValueCache, last: Tensor) -> list[str]:
        """Greedy answers after what the rows have read, whose last residual stream is [B, n]."""
        assert self.writing is not None
        written: list[list[int]] = [[] for _ in last]
        running = set(range(len(last)))
        for _ in range(self.writing.max_tokens):
            chosen = self.model.logits(last).argmax(dim=-1).tolist()
            running -= {row for row in running if chosen[row] in self.writing.stops}
            for row in running:
                written[row].append(chosen[row])
            if not running or max(cache.lengths) == cache.capacity:
                break
            tokens = torch.tensor(chosen, device=self.model.device).unsqueeze(1)
            last = self.model.hidden(tokens, cache.window(0, [1] * len(chosen)))[:, -1]
        return [self.tokenizer.decode(tokens) for tokens in written]


def is_right(query: QueryRecord) -> bool:
    """Whether each wanted candidate is likelier than every other."""
    found = dict(zip(query.candidates, query.log_likelihoods, strict=True))
    wanted = [found.pop(word) for word in query.wanted]
    return min(wanted) > max(found.values(), default=float("-inf"))


def names_all(answer: str, queries: Sequence[QueryRecord] | Sequence[Query]) -> bool:
    """Whether every wanted word stands in an answer, as a word of its own."""
    words = set(WORD.findall(answer))
    return all(word in words for query in queries for word in query.wanted)


def _record(
    trial: Trial, queries: tuple[QueryRecord, ...], answer: str | None, method: str, factor: int
) -> TrialRecord:
    return TrialRecord(
        method=method,
        factor=factor,
        kind=trial.kind,
        number=trial.number,
        length=trial.length,
        prompt_tokens=len(trial.prompt),
        depth=trial.depth,
        chance=trial.chance,
        needles=trial.needles,
        queries=queries,
        right=all(map(is_right, queries)),
        answer=answer,
        answer_right=None if answer is None else names_all(answer, queries),
    )


def _numbers(trials: Sequence[Trial]) -> range:
    return range(len(trials[0].queries))


def _go_back(cache: KeyValueCache, lengths: Sequence[int]) -> None:
    for row, length in enumerate(lengths):
        cache.rewind(row, length)
