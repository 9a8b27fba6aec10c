"""What a model made of each question of a task: the raw lines that every number of CORE follows from.

An option is chosen by its mean log-likelihood a token, the first of equals. In language modelling nothing is compared:
the answer counts as chosen when each of its tokens is the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter

from core.evaluation.core_metric.example import TaskType
from core.evaluation.core_metric.prompt import Prompter
from core.evaluation.core_metric.spans import Likelihood, likelihoods
from core.model.transformer import Transformer

FILE = "outcomes.jsonl"
AT_ONCE = 256  # questions whose prompts are in memory together


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One question, a number for each of its options."""

    task: str
    number: int  # in the order in which they are asked
    line: int  # of the example in its file, from 0, blank lines not counted
    gold: int
    chosen: int | None  # None: the model would write something else
    correct: bool
    log_likelihoods: tuple[float, ...]  # nats, summed over the tokens that are compared
    tokens: tuple[int, ...]  # how many those are
    cropped: bool
    unaligned: bool


OUTCOMES: TypeAdapter[list[Outcome]] = TypeAdapter(list[Outcome])
_OUTCOME = TypeAdapter(Outcome)


def ask(
    model: Transformer, prompter: Prompter, lines: Sequence[int], progress: Callable[[int], None]
) -> Iterator[Outcome]:
    """Ask every question of a task; `lines` are the places of the examples, `progress` is told how many are done."""
    numbers = iter(range(len(prompter.examples)))
    while batch := list(islice(numbers, AT_ONCE)):
        prompts = [prompter.prompt(number) for number in batch]
        found = iter(likelihoods(model, [span for prompt in prompts for span in prompt.spans]))
        for number, prompt in zip(batch, prompts, strict=True):
            options = list(islice(found, len(prompt.spans)))
            gold, chosen = prompter.examples[number].gold, _chosen(prompter.task.type, options)
            yield Outcome(
                task=prompter.task.label,
                number=number,
                line=lines[number],
                gold=gold,
                chosen=chosen,
                correct=chosen == gold,
                log_likelihoods=tuple(option.log_likelihood for option in options),
                tokens=tuple(option.tokens for option in options),
                cropped=prompt.cropped,
                unaligned=prompt.unaligned,
            )
        progress(batch[-1] + 1)


def _chosen(kind: TaskType, options: Sequence[Likelihood]) -> int | None:
    if kind == "language_modeling":
        return 0 if options[0].likeliest else None
    means = [option.log_likelihood / option.tokens for option in options]
    return means.index(max(means))


def write_outcomes(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Write `outcomes.jsonl`, one question a line."""
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{_OUTCOME.dump_json(one).decode()}\n" for one in outcomes)


def read_outcomes(folder: Path) -> list[Outcome]:
    """Read what `write_outcomes` wrote."""
    return [_OUTCOME.validate_json(line) for line in (folder / FILE).read_text("utf-8").splitlines()]
