"""Whole optimizer steps of one recipe, timed: tokens/s, FLOP/s, MFU, memory, where time goes, next to plain PyTorch.

    python -m benchmarks.train_step [--tag d20_20tpp] [--precision bf16] [--kernels fastest] [--json FILE]
    torchrun --nproc-per-node=8 -m benchmarks.train_step --tag d20_20tpp

The step is the one that stages take (`core.training.step`): memory-mapped rows read ahead, micro-batches with
back-off, sharded optimizer. Its peer is the same model written plainly: eager layers, all logits in float32,
`F.cross_entropy`, the same optimizer. The two take turns, and medians of rounds count. Afterwards one more round is
taken with a wait after each part, for the shares, and one checkpoint is saved, for the stall. FLOPs a token are
6 S + 12 n L T with full attention, and half of the attention's with causal attention; MFU is against the
device's dense bf16 peak, in fp8 too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from artifacts.progress import SavedCheckpoint
from benchmarks.support.machine import describe
from benchmarks.support.rows import library_rows
from benchmarks.support.stage_environment import compute_as_stages_do
from core.data.rows import Rows, RowsWriter, Stream
from core.model.architecture import Architecture
from core.model.transformer import Transformer
from core.planning.pretraining import base_stage
from core.recipes.table import find_recipe
from core.stages.context import StageContext
from core.stages.identity import TrainingIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.training.batches import PackedBatches, rows_per_step
from core.training.checkpointing import CheckpointWriter
from core.training.distributed import World, process_group
from core.training.hardware import dense_bf16_peak, memory_in_use, model_flops_utilization
from core.training.micro_batch import MicroBatch
from core.training.numerics import attention_kernel, compile_where_it_pays, fix_numerics
from core.training.optimizer import Optimizer
from core.training.precision import build_model
from core.training.prefetch import Prefetcher
from core.training.pretrain import state_before
from core.training.schedule import Rates, pretraining_rates
from core.training.snapshot import Position, Snapshot
from core.training.step import TrainingStep
from core.training.times import Times
from core.training.trace import Trace

ROUNDS = 5
WARM_UP_STEPS = 2  # compilation and memory back-off among them
DISTINCT_STEPS = 4  # of rows on disk; then they are read again


@dataclass(frozen=True)
class Measured:
    """One program's speed, all ranks together."""

    program: str
    tokens_per_second: float
    tflops_full: float
    tflops_causal: float
    mfu_full: float | None  # None: the device's peak is not known
    mfu_causal: float | None
    peak_memory_bytes: int | None  # None: not known, since a CPU's process has one peak for both programs


class PlainEager:
    """The same model, trained the obvious way."""

    name = "plain eager"

    def __init__(
        self, identity: TrainingIdentity, batches: PackedBatches, micro_batch: MicroBatch, world: World
    ) -> None:
        precision = "bf16" if identity.precision == "fp8" else identity.precision
        self._model = build_model(identity.architecture, precision, True, world.device)
        self._model.initialize(identity.seed)
        self._optimizer = Optimizer(self._model, identity.optimization, world)
        self._batches, self._micro_batch, self._world = batches, micro_batch, world

    def take(self, step: int, rates: Rates) -> None:
        """One optimizer step."""
        rows, share = self._batches.rows_per_step, self._world.share(self._batches.rows_per_step)
        for part in self._micro_batch.parts(range(step * rows + share.start, step * rows + share.stop)):
            inputs, targets = (tensor.to(self._world.device) for tensor in self._batches.read(part.start, len(part)))
            logits = self._model(inputs)  # float32 [B, T, V]
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
            torch.autograd.backward(loss / (rows * self._batches.sequence_length))
        self._optimizer.reduce_gradients()
        self._optimizer.step(rates)


class LocalCheckpoints:
    """Checkpoints that are written, hashed by nobody and thrown away: what remains is the stall of training."""

    def save(self, step: int, directory: Path) -> None:
        """Accept it."""

    def newest(self) -> SavedCheckpoint | None:
        """There is none."""
        return None

    def add(self, step: int, directory: Path) -> None:
        """Accept it."""

    def every(self) -> list[SavedCheckpoint]:
        """There is none."""
        return []


@dataclass(frozen=True)
class Bench:
    """One recipe's pretraining on this machine."""

    identity: TrainingIdentity
    batches: PackedBatches
    world: World
    steps: int  # of one round

    def rates(self, step: int) -> Rates:
        """Rates of a step of the recipe's own horizon."""
        return pretraining_rates(self.identity.optimization, step % self.identity.steps, self.identity.steps)

    def seconds(self, program: TrainingStep | PlainEager, first: int) -> float:
        """Seconds of one round, every device's work included."""
        self.synchronize()
        started = time.perf_counter()
        for step in range(first, first + self.steps):
            program.take(step, self.rates(step))
        self.synchronize()
        return time.perf_counter() - started

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)

    def measured(self, name: str, rounds: list[float], peak_memory_bytes: int | None) -> Measured:
        """A program's rates from the median of its rounds."""
        rate = self.steps * self.identity.batch_tokens / statistics.median(rounds)
        architecture, world = self.identity.architecture, self.world
        full, causal = architecture.flops_per_token, architecture.causal_flops_per_token
        cuda = world.device.type == "cuda"
        peak = dense_bf16_peak(torch.cuda.get_device_name(world.device)) if cuda else None
        utilization = partial(model_flops_utilization, rate, peak=peak, devices=world.size)
        return Measured(
            program=name,
            tokens_per_second=rate,
            tflops_full=rate * full / 1e12,
            tflops_causal=rate * causal / 1e12,
            mfu_full=utilization(flops_per_token=full),
            mfu_causal=utilization(flops_per_token=causal),
            peak_memory_bytes=peak_memory_bytes,
        )


def training_step(bench: Bench, model: Transformer, prefetcher: Prefetcher, micro_batch: MicroBatch) -> TrainingStep:
    """The step that stages take, on this model."""
    identity, world = bench.identity, bench.world
    return TrainingStep(
        model=model,
        optimizer=Optimizer(model, identity.optimization, world),
        optimization=identity.optimization,
        batches=bench.batches,
        prefetcher=prefetcher,
        world=world,
        micro_batch=micro_batch,
        say=print,
    )


def shares(bench: Bench, training: TrainingStep) -> dict[str, float]:
    """Seconds of a step by part, each part waiting for its own work, so the sum is above an undisturbed step's."""
    training.times = Times(synchronize=bench.synchronize)
    bench.seconds(training, 0)
    return {name: value / bench.steps for name, value in training.times.seconds.items()}


def checkpoint_stall(bench: Bench, training: TrainingStep, folder: Path) -> float:
    """Seconds that training waits for a checkpoint, the second one: the first also pins the buffers."""
    context: StageContext[Any] = StageContext(
        name="benchmark",
        key="",
        identity=bench.identity,
        inputs={},
        output=folder,
        scratch=folder,
        checkpoints=LocalCheckpoints(),
        report=Reporter(sys.stderr),
        runtime=Runtime(),
    )
    writer = CheckpointWriter(context)
    for step in (1, 2):
        bench.synchronize()
        started = time.perf_counter()
        optimizer = training.optimizer.state()
        if bench.world.leads:
            writer.save(
                Snapshot(
                    step=step,
                    state=state_before(bench.identity, step),
                    weights=dict(training.model.state_dict()),
                    optimizer=optimizer,
                    trace=Trace(),
                    position=Position(
                        rows_read=0, micro_batch_rows=training.micro_batch.rows, world_size=bench.world.size
                    ),
                )
            )
        stall = time.perf_counter() - started
        writer.finish()
    writer.close()
    return stall


def write_rows(folder: Path, architecture: Architecture, count: int) -> Stream:
    """Packed rows of bytes, on disk as a pack stage leaves them."""
    row_tokens = architecture.sequence_length + 1
    with RowsWriter(folder, "rows", row_tokens, architecture.vocabulary_size) as writer:
        writer.append(library_rows(count, row_tokens))
    return Stream([Rows.open(folder)])


def main() -> None:
    """Measure, print the table, write the JSON."""
    compute_as_stages_do()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", default="tiny", help="recipe whose pretraining is measured (default: tiny)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp8"), help="instead of the recipe's own")
    parser.add_argument("--kernels", choices=("deterministic", "fastest"), default="deterministic")
    parser.add_argument("--micro-batch", type=int, metavar="ROWS", help="default: 65,536 tokens, halved until they fit")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of a round (default: 4)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each program (default: 5)")
    parser.add_argument("--no-peer", action="store_true", help="leave out the plain model, which needs more memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    with process_group() as world, TemporaryDirectory(prefix="miniseries-benchmark-") as folder:
        fix_numerics(arguments.kernels)
        result = measure(arguments, world, Path(folder))
        if not world.leads:
            return
        Console(width=None if sys.stdout.isatty() else 140).print(table_of(result))
        print(json.dumps({name: value for name, value in result.items() if name != "programs"}))
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace, world: World, folder: Path) -> dict[str, Any]:
    """Everything that is reported, as JSON values."""
    bench = open_bench(arguments, world, folder)
    identity = bench.identity
    micro_batch = MicroBatch.fitting(identity.architecture.sequence_length, arguments.micro_batch)
    model = build_model(identity.architecture, identity.precision, True, world.device)
    model.initialize(identity.seed)
    flops = identity.steps * identity.batch_tokens * identity.architecture.flops_per_token
    compile_where_it_pays(model, world.device, flops)
    with Prefetcher(bench.batches, world.device) as prefetcher:
        training = training_step(bench, model, prefetcher, micro_batch)
        for step in range(WARM_UP_STEPS):
            training.take(step, bench.rates(step))
        programs: dict[str, TrainingStep | PlainEager] = {"miniseries": training}
        peaks: dict[str, int | None] = {"miniseries": memory_in_use(world.device)}
        if not arguments.no_peer:
            programs[PlainEager.name], peaks[PlainEager.name] = plain_eager(bench, micro_batch)
        rounds = take_turns(bench, programs, arguments.rounds)
        return {
            **describe(world.device),
            "tag": arguments.tag,
            "precision": identity.precision,
            "kernels": arguments.kernels,
            "attention": attention_kernel(model),
            "ranks": world.size,
            "micro_batch_rows": micro_batch.rows,
            "programs": [asdict(bench.measured(name, seconds, peaks[name])) for name, seconds in rounds.items()],
            "seconds_by_part": shares(bench, training),
            "checkpoint_stall_seconds": checkpoint_stall(bench, training, folder),
        }


def open_bench(arguments: argparse.Namespace, world: World, folder: Path) -> Bench:
    """The recipe that was asked for, with rows to train on in `folder`."""
    identity = base_stage(find_recipe(arguments.tag)).identity
    assert isinstance(identity, TrainingIdentity)
    identity = replace(identity, precision=arguments.precision or identity.precision)
    rows = rows_per_step(identity.batch_tokens, identity.architecture.sequence_length)
    stream = write_rows(folder, identity.architecture, DISTINCT_STEPS * rows)
    return Bench(identity, PackedBatches(stream, rows), world, arguments.steps)


def plain_eager(bench: Bench, micro_batch: MicroBatch) -> tuple[PlainEager, int | None]:
    """The peer after a step, and the memory that it took at most besides what was there; None on a CPU."""
    device, before = bench.world.device, 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    peer = PlainEager(bench.identity, bench.batches, micro_batch, bench.world)
    peer.take(0, bench.rates(0))
    return peer, memory_in_use(device) - before if device.type == "cuda" else None


def take_turns(bench: Bench, programs: dict[str, TrainingStep | PlainEager], number: int) -> dict[str, list[float]]:
    """Seconds of `number` rounds of each program, one after another."""
    rounds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(number):
        for name, program in programs.items():
            rounds[name].append(bench.seconds(program, WARM_UP_STEPS + turn * bench.steps))
    return rounds


def table_of(result: dict[str, Any]) -> Table:
    """A line a program, then where our time goes."""
    where = f"{result['ranks']} x {result['device']}, {result['attention']} attention"
    title = f"{result['tag']} {result['precision']} on {where}"
    table = Table("program", "tokens/s", "TFLOP/s full", "causal", "MFU full", "causal", "peak GB", title=title)
    for one in result["programs"]:
        table.add_row(
            one["program"],
            f"{one['tokens_per_second']:,.0f}",
            f"{one['tflops_full']:.3g}",
            f"{one['tflops_causal']:.3g}",
            *("-" if one[name] is None else f"{one[name]:.1%}" for name in ("mfu_full", "mfu_causal")),
            "-" if one["peak_memory_bytes"] is None else f"{one['peak_memory_bytes'] / 1e9:.1f}",
        )
    if len(result["programs"]) == 2:
        ours, plain = (one["tokens_per_second"] for one in result["programs"])
        table.caption = f"miniseries / plain eager: {ours / plain:.2f}"
    return table


if __name__ == "__main__":
    main()
