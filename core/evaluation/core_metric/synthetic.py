"""A small bundle from held-out text, in the same format: CORE for models that are too small for DCLM's.

Sentences of 8 to 24 words are taken from the held-out shard in an order that a seed decides, each for one question.

    sentence_end     multiple_choice, 0 shots      which of four ends a sentence has
    sentence_start   schema, 0 shots               which of two beginnings an end has
    last_word        language_modeling, 0 shots    the last word of a sentence
    repeated_word    language_modeling, 3 shots    a word of the question, to be said again
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

import yaml

from core.data.corpus.artifact import Corpus, read_documents
from core.evaluation.core_metric.bundle import BASELINES, DATA, DEFINITIONS
from core.evaluation.core_metric.example import TaskType
from core.stages.context import StageError

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
WORDS = range(8, 25)  # of a sentence
WORD = re.compile(r"[A-Za-z]{3,12}")
CHOICES = 4
TITLE = "synthetic tasks made from held-out text, not comparable with those of DCLM"
READ_DOCUMENTS = 256  # at once

Line = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """The words of one sentence of the held-out text."""

    words: Sequence[str]

    @property
    def beginning(self) -> str:
        """The first half."""
        return " ".join(self.words[: len(self.words) // 2])

    @property
    def end(self) -> str:
        """The second half."""
        return " ".join(self.words[len(self.words) // 2 :])


@dataclass(frozen=True, kw_only=True)
class Maker:
    """How the questions of one task are made, each from its sentence and some of the others."""

    label: str
    type: TaskType
    shots: int
    delimiter: str
    baseline: int  # per cent
    question: Callable[[Sentence, Sequence[Sentence], Random], Line]


def write_synthetic(corpus: Path, shard: int, examples: int, seed: int, folder: Path) -> None:
    """Write a bundle of up to `examples` questions a task; raise `StageError` when the shard has too few sentences."""
    sentences = _sentences(corpus, shard)
    random = Random(seed)
    random.shuffle(sentences)
    each = min(examples, len(sentences) // len(MAKERS))
    if each <= max(maker.shots for maker in MAKERS):
        raise StageError(
            f"{corpus}: shard {shard} has {len(sentences)} sentences of {WORDS[0]} words and more; hold more out"
        )
    (folder / DATA).mkdir()
    for number, maker in enumerate(MAKERS):
        own = sentences[number * each : (number + 1) * each]
        lines = [maker.question(one, _others(one, sentences, random), random) for one in own]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / DATA / _file(maker)).write_text(text, encoding="utf-8")
    _write_descriptions(folder)


def _sentences(corpus: Path, shard: int) -> list[Sentence]:
    """Every sentence of the shard that has a suitable length, once."""
    (found,) = Corpus.load(corpus).select(shard, shard + 1)
    texts = chain.from_iterable(read_documents(corpus / found.file, READ_DOCUMENTS))
    split = chain.from_iterable(map(_split, texts))
    return [Sentence(words=text.split(" ")) for text in dict.fromkeys(split)]


def _split(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
            if len(sentence.split(" ")) in WORDS and WORD.fullmatch(sentence.split(" ")[-1].rstrip(".!?")):
                yield sentence


def _others(sentence: Sentence, sentences: Sequence[Sentence], random: Random) -> list[Sentence]:
    drawn = random.sample(sentences, CHOICES)
    return [other for other in drawn if other is not sentence][: CHOICES - 1]


def _end_question(sentence: Sentence, others: Sequence[Sentence], random: Random) -> Line:
    ends = [sentence.end, *(other.end for other in others)]
    gold = _placed_at_random(ends, random)
    return {"query": sentence.beginning, "choices": ends, "gold": gold}


def _start_question(sentence: Sentence, others: Sequence[Sentence], random: Random) -> Line:
    beginnings = [sentence.beginning, others[0].beginning]
    gold = _placed_at_random(beginnings, random)
    return {"context_options": beginnings, "continuation": sentence.end, "gold": gold}


def _placed_at_random(options: list[str], random: Random) -> int:
    """Move the first option, the right one, to a random place; return which."""
    gold = random.randrange(len(options))
    options.insert(gold, options.pop(0))
    return gold


def _last_word_question(sentence: Sentence, _others: Sequence[Sentence], _random: Random) -> Line:
    return {"context": " ".join(sentence.words[:-1]), "continuation": sentence.words[-1].rstrip(".!?")}


def _repeated_word_question(sentence: Sentence, _others: Sequence[Sentence], _random: Random) -> Line:
    word = sentence.words[-1].rstrip(".!?")
    return {"context": f"Repeat the word: {word}", "continuation": word}


MAKERS = (
    Maker(
        label="sentence_end",
        type="multiple_choice",
        shots=0,
        delimiter=" ",
        baseline=100 // CHOICES,
        question=_end_question,
    ),
    Maker(label="sentence_start", type="schema", shots=0, delimiter=" ", baseline=50, question=_start_question),
    Maker(
        label="last_word",
        type="language_modeling",
        shots=0,
        delimiter=" ",
        baseline=0,
        question=_last_word_question,
    ),
    Maker(
        label="repeated_word",
        type="language_modeling",
        shots=3,
        delimiter="\nAnswer: ",
        baseline=0,
        question=_repeated_word_question,
    ),
)


def _file(maker: Maker) -> str:
    return f"{maker.label}.jsonl"


def _write_descriptions(folder: Path) -> None:
    tasks = [
        {
            "label": maker.label,
            "dataset_uri": _file(maker),
            "num_fewshot": [maker.shots],
            "icl_task_type": maker.type,
            "continuation_delimiter": maker.delimiter,
        }
        for maker in MAKERS
    ]
    text = yaml.safe_dump({"title": TITLE, "icl_tasks": tasks}, sort_keys=False)
    (folder / DEFINITIONS).write_text(text, encoding="utf-8")
    with (folder / BASELINES).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("Eval Task", "Random baseline"))
        table.writerows((maker.label, maker.baseline) for maker in MAKERS)
