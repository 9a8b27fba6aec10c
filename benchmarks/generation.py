"""How fast tokens are generated: one request by one and 32 at a time, with the key-value cache and without.

    python -m benchmarks.generation [--tag TAG] [--device DEVICE] [--json FILE]

Random weights of the tag's architecture (what is generated does not change its cost), prompts of several lengths,
greedy but where the line says otherwise, every answer of the same length. The programs take turns, so that what else
the machine does falls on all of them, and the fastest round of each counts: other work only adds. 32 at a time should
be 10 times as fast as one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import describe
from core.inference.engine import Engine, Request
from core.inference.sampling import Sampling
from core.model.transformer import Transformer
from core.recipes.table import find_recipe

BATCH = 32
ANSWER_TOKENS = 128
SHORTEST, LONGEST = 16, 96  # tokens of a prompt
WARMUP_REQUESTS = 2

Program = Callable[[Transformer, Sequence[Request]], None]


@dataclass(frozen=True)
class Measured:
    """One program: tokens per second of wall time, and the milliseconds of processor time that a token took."""

    program: str
    requests: int
    tokens_per_second: float
    processor_ms_per_token: float


@torch.inference_mode()
def read_everything_again(model: Transformer, requests: Sequence[Request]) -> None:
    """One by one without a cache: a whole forward pass for every token."""
    for request in requests:
        tokens = torch.tensor([request.prompt], device=model.device)
        for _ in range(request.sampling.max_tokens):
            chosen = model.logits(model.hidden(tokens)[:, -1]).argmax(dim=-1, keepdim=True)
            tokens = torch.cat((tokens, chosen), dim=1)


def with_slots(slots: int) -> Program:
    """The engine with so many requests at once."""

    def program(model: Transformer, requests: Sequence[Request]) -> None:
        engine = Engine(model, context_tokens=LONGEST + ANSWER_TOKENS, slots=slots)
        waiting = list(requests)
        while waiting or not engine.is_idle:
            while waiting and engine.free_slots:
                engine.add(waiting.pop())
            engine.step()

    return program


def requests_of(model: Transformer, count: int, **sampling: float) -> list[Request]:
    """Requests with prompts of random lengths; no answer stops early."""
    random = Random(1)
    vocabulary = model.architecture.vocabulary_size
    settings = Sampling(max_tokens=ANSWER_TOKENS, **{"temperature": 0.0, **sampling})  # type: ignore[arg-type]
    return [
        Request(
            prompt=tuple(random.randrange(vocabulary) for _ in range(random.randint(SHORTEST, LONGEST))),
            sampling=settings,
            stop_tokens=frozenset(),
        )
        for _ in range(count)
    ]


def measure(model: Transformer, rounds: int) -> list[Measured]:
    """Every program on its requests, in turn, `rounds` times after a warm-up; the fastest."""
    greedy, drawn = requests_of(model, BATCH), requests_of(model, BATCH, temperature=0.8, top_k=50, top_p=0.95)
    programs: Mapping[str, tuple[Program, Sequence[Request]]] = {
        "one by one, no cache": (read_everything_again, greedy[: BATCH // 4]),
        "one by one, cache": (with_slots(1), greedy[: BATCH // 4]),
        "8 at a time, cache": (with_slots(8), greedy),
        f"{BATCH} at a time, cache": (with_slots(BATCH), greedy),
        f"{BATCH} at a time, top-k 50, top-p 0.95": (with_slots(BATCH), drawn),
    }
    for program, requests in programs.values():
        _timed(program, model, requests[:WARMUP_REQUESTS])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, (program, requests) in programs.items():
            times[name].append(_timed(program, model, requests))
    measured = []
    for name, (_, requests) in programs.items():
        tokens = len(requests) * ANSWER_TOKENS
        wall, processor = (min(column) for column in zip(*times[name], strict=True))
        measured.append(Measured(name, len(requests), tokens / wall, 1000 * processor / tokens))
    return measured


def _timed(program: Program, model: Transformer, requests: Sequence[Request]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    program(model, requests)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - wall, time.process_time() - processor


def table_of(measured: Sequence[Measured], title: str) -> Table:
    """One line a program."""
    ratios = "x no cache", "x cache"
    table = Table("program", "requests", "tokens/s", *ratios, "CPU ms/token", *ratios, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    plain, cached = measured[:2]
    for one in measured:
        table.add_row(
            one.program,
            str(one.requests),
            f"{one.tokens_per_second:,.0f}",
            f"{one.tokens_per_second / plain.tokens_per_second:.1f}",
            f"{one.tokens_per_second / cached.tokens_per_second:.1f}",
            f"{one.processor_ms_per_token:.3f}",
            f"{plain.processor_ms_per_token / one.processor_ms_per_token:.1f}",
            f"{cached.processor_ms_per_token / one.processor_ms_per_token:.1f}",
        )
    return table


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", default="tiny", help="whose architecture is measured; tiny if not given")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    model = Transformer(find_recipe(arguments.tag).architecture)
    model.initialize(seed=1)
    model.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32).eval()
    measured, machine = measure(model, arguments.rounds), describe(device)
    title = f"{arguments.tag}, {ANSWER_TOKENS} tokens after prompts of {SHORTEST} to {LONGEST}; {machine['device']}"
    Console(width=None if sys.stdout.isatty() else 140).print(table_of(measured, title))
    if arguments.json:
        values = {"tag": arguments.tag, "machine": machine, "measured": [asdict(one) for one in measured]}
        arguments.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
