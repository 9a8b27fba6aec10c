"""The n-grams of an evaluation set: the small side of the comparison, sorted, with the questions that hold each.

Every message of a question is a text of its own: no n-gram runs from a question into its answer. Memory is some 30
bytes an n-gram and 4 a letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from core.data.decontamination.words import BOUNDARY, Hashes, Words
from core.posttraining.conversation import Conversation
from core.posttraining.questions import Question

QUESTIONS_AT_ONCE = 500
FILTER_BITS = 24

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QuestionName:
    """A question: its task, and its number among those of the task, from 0."""

    task: str
    number: int


@dataclass(frozen=True)
class EvaluationNgrams:
    """Distinct n-grams by hash. An n-gram has an index, its place in `hashes`; a question too, its place in `names`."""

    ngram: int  # n
    names: tuple[QuestionName, ...]
    hashes: Hashes  # [n-grams], ascending
    chunks: tuple[Words, ...]  # the words of all questions
    first: Places  # [n-grams, 2]: the chunk and the word at which each begins, where it is first
    pairs: Places  # [pairs, 2]: n-gram and question that holds it, by question and then in the order of its text
    present: npt.NDArray[np.bool_]  # [2^24] by the first bits of a hash: whether any n-gram begins like this

    @classmethod
    def of(cls, questions: Sequence[Question], ngram: int) -> EvaluationNgrams:
        """Take the questions apart."""
        chunks, hashes, places, owners = [], [], [], []
        for number, part in enumerate(_parts(questions)):
            words, owner = _words(part)
            first, found = words.ngrams(ngram)
            chunks.append(words)
            hashes.append(found)
            places.append(np.stack((np.full(len(first), number), first), axis=1))
            owners.append(owner[words.documents[first]] + number * QUESTIONS_AT_ONCE)
        return cls._sorted(ngram, _names(questions), tuple(chunks), hashes, places, owners)

    @classmethod
    def _sorted(
        cls,
        ngram: int,
        names: tuple[QuestionName, ...],
        chunks: tuple[Words, ...],
        hashes: Sequence[Hashes],
        places: Sequence[Places],
        owners: Sequence[Places],
    ) -> EvaluationNgrams:
        every = np.concatenate([np.empty(0, np.uint64), *hashes])
        distinct, first, inverse = np.unique(every, return_index=True, return_inverse=True)
        pairs = np.stack((inverse.reshape(-1), np.concatenate([np.empty(0, np.int64), *owners])), axis=1)
        _, order = np.unique(pairs, axis=0, return_index=True)
        present = np.zeros(1 << FILTER_BITS, np.bool_)
        present[_beginning(distinct)] = True
        return cls(
            ngram=ngram,
            names=names,
            hashes=distinct,
            chunks=chunks,
            first=np.concatenate([np.empty((0, 2), np.int64), *places])[first],
            pairs=pairs[np.sort(order)],
            present=present,
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def text(self, index: int) -> str:
        """The words of an n-gram."""
        chunk, word = self.first[index].tolist()
        words: Words = self.chunks[chunk]
        return words.text(word, self.ngram)

    def found_in(self, words: Words) -> list[tuple[int, int]]:
        """(n-gram, number of the document in the text) of every n-gram that `words` hold, where each is first."""
        first, hashes = words.ngrams(self.ngram)
        likely = self.present[_beginning(hashes)]
        first, hashes = first[likely], hashes[likely]
        places = np.searchsorted(self.hashes, hashes)
        equal = places < len(self)
        equal[equal] = self.hashes[places[equal]] == hashes[equal]
        indexes, where = np.unique(places[equal], return_index=True)
        return [
            (index, int(words.documents[word]))
            for index, word in zip(indexes.tolist(), first[equal][where].tolist(), strict=True)
            if self.text(index) == words.text(word, self.ngram)
        ]


def _parts(questions: Sequence[Question]) -> Iterator[list[Question]]:
    rest = iter(questions)
    while part := list(islice(rest, QUESTIONS_AT_ONCE)):
        yield part


def _words(questions: Iterable[Question]) -> tuple[Words, Places]:
    """The words of some questions, a document a message, and the question [documents] that each message is of."""
    messages = [(owner, text) for owner, question in enumerate(questions) for text in _texts(question.conversation)]
    words = Words.of("".join(f"{BOUNDARY}{text}" for _, text in messages))
    return words, np.array([owner for owner, _ in messages], np.int64)


def _texts(conversation: Conversation) -> Iterator[str]:
    return (message.text.replace(BOUNDARY, "") for message in conversation.messages)


def _names(questions: Iterable[Question]) -> tuple[QuestionName, ...]:
    counts: Counter[str] = Counter()
    names = []
    for question in questions:
        names.append(QuestionName(question.task, counts[question.task]))
        counts[question.task] += 1
    return tuple(names)


def _beginning(hashes: Hashes) -> npt.NDArray[np.int64]:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
