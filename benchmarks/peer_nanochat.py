"""Our training code next to the seed fork's own, in one run on one machine: the same logits, the same curve, how fast.

    git clone https://github.com/crelliscmu/nanochat ../nanochat
    git -C ../nanochat checkout 72dfc77f3a246b63092003bd2ca9cceae2f33ef2
    python -m benchmarks.peer_nanochat --checkout ../nanochat [--tag TAG] [--steps N] [--json FILE]

- logits: the largest difference over random tokens, of one set of weights that are nowhere zero, with and without RoPE.
- loss curves: both train from our initial weights on the same rows (bytes of Python's standard library) with the
  recipe's peak rates and schedules, N steps as the horizon. What float noise alone does is measured beside it: our
  own run once more, from weights one unit in the last place away.
- tokens/s: whole optimizer steps on the same rows, program after program, round after round; the median counts.
Both use the fork's epsilon of RMSNorm, 1.19e-7 instead of our 1e-6, because the fork's cannot be changed. The fork
computes in fp32 or bf16; a recipe that trains in fp8 is compared in bf16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from types import ModuleType

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.support.contestant import Batch, Contest, Contestant, Miniseries
from benchmarks.support.machine import describe
from benchmarks.support.rows import library_rows
from benchmarks.support.seed_fork import COMMIT, EPSILON, CheckoutError, SeedFork, check_shape, load
from benchmarks.support.stage_environment import compute_as_stages_do
from core.model.loss import split_rows
from core.recipes.recipe import Precision, Recipe
from core.recipes.table import find_recipe
from core.training.numerics import fix_numerics
from core.training.precision import build_model

SEED = 42
ROUND_STEPS = 5  # of one program, before the next one has its turn
WARM_UP_STEPS = 3  # compilation among them


@dataclass(frozen=True)
class LogitDifference:
    """Of the same weights, over random tokens."""

    use_rope: bool
    maximum: float
    largest_logit: float


@dataclass(frozen=True)
class CurveDifference:
    """Of two loss curves, step by step; nats a token."""

    programs: str
    maximum: float
    mean: float


@dataclass(frozen=True)
class Speed:
    """One program's optimizer steps."""

    program: str
    warm_up_seconds: float  # of the first steps, compilation among them
    tokens_per_second: float  # median of the rounds
    rounds: list[float]  # tokens/s of each


class Comparison:
    """Everything that is measured, on the batches of one contest."""

    def __init__(self, gpt: ModuleType, contest: Contest, batch_rows: int) -> None:
        self._gpt, self._contest, self._batch_rows = gpt, contest, batch_rows
        self._weights = _initial_weights(contest)

    def logits(self) -> list[LogitDifference]:
        """With and without RoPE."""
        weights = _random_weights(self._weights)
        ours = Miniseries(self._contest, weights)
        theirs = SeedFork(self._gpt, self._contest, weights, name="seed fork")
        architecture = self._contest.architecture
        tokens = torch.randint(
            architecture.vocabulary_size,
            (2, architecture.sequence_length),
            generator=torch.Generator().manual_seed(SEED),
        ).to(self._contest.device)
        differences = []
        for use_rope in (True, False):
            expected = theirs.logits(tokens, use_rope)
            found = ours.logits(tokens, use_rope)
            differences.append(
                LogitDifference(use_rope, float((found - expected).abs().max()), float(expected.abs().max()))
            )
        return differences

    def curves(self) -> tuple[dict[str, list[float]], list[CurveDifference]]:
        """The loss of every step by program, and how far each curve is from ours."""
        programs: list[Contestant] = [
            Miniseries(self._contest, self._weights),
            Miniseries(self._contest, _nudged(self._weights), name="miniseries, weights 1 ulp away"),
            SeedFork(self._gpt, self._contest, self._weights, name="seed fork"),
        ]
        losses: dict[str, list[float]] = {program.name: [] for program in programs}
        for number, (inputs, targets) in enumerate(self._batches(self._contest.steps)):
            for program in programs:
                losses[program.name].append(program.step(number, inputs, targets))
        ours, *others = losses
        return losses, [_curve_difference(ours, other, losses) for other in others]

    def speeds(self, rounds: int) -> list[Speed]:
        """Tokens/s by turns: a round of ours (on a processor also as in a long run, compiled), of the fork as it
        trains, of it uncompiled.
        """
        compiled = SeedFork(self._gpt, self._contest, self._weights, name="seed fork")
        compiled.compile()
        long_run = Miniseries(self._contest, self._weights, name="miniseries, long run: compiled", flops=inf)
        programs: list[Contestant] = [
            Miniseries(self._contest, self._weights),
            *([long_run] if self._contest.device.type == "cpu" else []),
            compiled,
            SeedFork(self._gpt, self._contest, self._weights, name="seed fork, model not compiled"),
        ]
        batches = list(self._batches(ROUND_STEPS))
        warm_up = {program.name: _seconds(program, batches[:WARM_UP_STEPS], 0) for program in programs}
        rates: dict[str, list[float]] = {program.name: [] for program in programs}
        tokens = sum(inputs.numel() for inputs, _ in batches)
        for number in range(rounds):
            for program in programs:
                rates[program.name].append(tokens / _seconds(program, batches, (number + 1) * ROUND_STEPS))
        return [Speed(name, warm_up[name], statistics.median(found), found) for name, found in rates.items()]

    def _batches(self, count: int) -> Iterator[Batch]:
        rows = library_rows(count * self._batch_rows, self._contest.architecture.sequence_length + 1)
        for start in range(0, len(rows), self._batch_rows):
            inputs, targets = split_rows(rows[start : start + self._batch_rows])
            yield inputs.to(self._contest.device), targets.to(self._contest.device)


def _seconds(program: Contestant, batches: Sequence[Batch], first: int) -> float:
    """Of whole steps; each returns its loss as a number, so only the optimizer's work may still be under way."""
    began = time.perf_counter()
    for number, (inputs, targets) in enumerate(batches, first):
        program.step(number, inputs, targets)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _initial_weights(contest: Contest) -> dict[str, Tensor]:
    model = build_model(contest.architecture, contest.precision, True, contest.device)
    model.initialize(SEED)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _random_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Normal weights, the projections that start at zero included; logits that reach the softcap's bend."""
    generator = torch.Generator().manual_seed(SEED)
    scales = {"transformer.wte.weight": 1.0, "lm_head.weight": 4.0}
    return {
        name: (
            torch.randn(tensor.shape, generator=generator) * scales.get(name, 1.0) / _fan_in(name, tensor) ** 0.5
        ).to(tensor)
        for name, tensor in weights.items()
    }


def _fan_in(name: str, tensor: Tensor) -> int:
    return 1 if name == "transformer.wte.weight" else tensor.shape[1]


def _nudged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight moved to the next larger number of its type; zeros stay."""
    return {
        name: torch.where(tensor == 0, tensor, torch.nextafter(tensor, torch.full_like(tensor, torch.inf)))
        for name, tensor in weights.items()
    }


def _curve_difference(ours: str, other: str, losses: dict[str, list[float]]) -> CurveDifference:
    gaps = [abs(own - peer) for own, peer in zip(losses[ours], losses[other], strict=True)]
    return CurveDifference(f"{ours} / {other}", max(gaps), statistics.mean(gaps))


def tables(
    logits: Sequence[LogitDifference], losses: dict[str, list[float]], curves: Sequence[CurveDifference]
) -> Iterator[Table]:
    """What should be equal."""
    table = _table("logits", "largest difference", "largest logit")
    for logit in logits:
        rope = "with RoPE" if logit.use_rope else "without RoPE"
        table.add_row(rope, f"{logit.maximum:.2e}", f"{logit.largest_logit:.2f}")
    yield table
    table = _table("loss", "first step", "last step")
    for name, values in losses.items():
        table.add_row(name, f"{values[0]:.6f}", f"{values[-1]:.6f}")
    yield table
    table = _table(f"loss curves, {len(next(iter(losses.values())))} steps", "largest difference", "mean difference")
    for curve in curves:
        table.add_row(curve.programs, f"{curve.maximum:.2e}", f"{curve.mean:.2e}")
    yield table


def speed_table(speeds: Sequence[Speed]) -> Table:
    """Who is faster."""
    ours = speeds[0].tokens_per_second
    table = _table("program", "warm-up", "tokens/s (median)", "slowest", "fastest", "miniseries / program")
    for speed in speeds:
        rates = speed.tokens_per_second, min(speed.rounds), max(speed.rounds)
        table.add_row(
            speed.program,
            f"{speed.warm_up_seconds:.1f} s",
            *(f"{rate:,.0f}" for rate in rates),
            f"{ours / speed.tokens_per_second:.2f}",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, *others)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def contest_of(recipe: Recipe, arguments: argparse.Namespace, device: torch.device) -> Contest:
    """The recipe's shape and rates, with the fork's epsilon and in a precision that the fork has."""
    precision: Precision = "bf16" if recipe.pretraining.precision == "fp8" else recipe.pretraining.precision
    return Contest(
        architecture=replace(recipe.architecture, norm_epsilon=EPSILON),
        precision=arguments.precision or precision,
        optimization=recipe.pretraining.optimization,
        steps=arguments.steps,
        micro_batch=arguments.micro_batch,
        device=device,
    )


def main() -> None:
    """Compare, print the tables, write the JSON; exits 2 without a checkout."""
    compute_as_stages_do()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="folder with the seed fork's code")
    parser.add_argument("--tag", default="tiny", help="recipe whose shape and rates are used")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="instead of the recipe's")
    parser.add_argument("--steps", type=int, default=100, help="of the loss curves")
    parser.add_argument("--batch-rows", type=int, help="rows of a step, instead of the recipe's")
    parser.add_argument("--micro-batch", type=int, default=16, help="rows of one forward pass")
    parser.add_argument("--rounds", type=int, default=15, help="of each program, for tokens/s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    recipe = find_recipe(arguments.tag)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    contest = contest_of(recipe, arguments, device)
    batch_rows = arguments.batch_rows or recipe.pretraining.batch_tokens // recipe.architecture.sequence_length
    try:
        check_shape(contest.architecture, contest.optimization)
        gpt = load(arguments.checkout, torch.float32 if contest.precision == "fp32" else torch.bfloat16)
    except CheckoutError as error:
        print(f"peer_nanochat: {error}", file=sys.stderr)
        sys.exit(2)
    fix_numerics("fastest")
    comparison = Comparison(gpt, contest, batch_rows)
    console = Console(width=None if sys.stdout.isatty() else 140)
    settings = {
        **describe(device),
        "tag": recipe.tag,
        "precision": contest.precision,
        "rows": batch_rows,
        "micro_batch": contest.micro_batch,
        "seed fork": COMMIT,
    }
    console.print(", ".join(f"{name} {value}" for name, value in settings.items()))
    logits, (losses, curves) = comparison.logits(), comparison.curves()
    console.print(*tables(logits, losses, curves))
    speeds = comparison.speeds(arguments.rounds)
    console.print(speed_table(speeds))
    if arguments.json:
        measured = {
            "logits": [asdict(logit) for logit in logits],
            "losses": losses,
            "curves": [asdict(curve) for curve in curves],
            "speeds": [asdict(speed) for speed in speeds],
        }
        arguments.json.write_text(json.dumps({**settings, **measured}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
