"""A certificate that resuming and sharing change no bit on this machine: device, versions, sha256 of what was trained.

    python -m benchmarks.exactness [--tag d20_20tpp] [--steps 40] [--batch-tokens 131072] [--ranks 8] [--repeat 3]

Trains the same steps three ways, each time in processes of their own, as stages do: undisturbed; stopped by SIGTERM at
a quarter and by `kill -9` at a half, going on from checkpoints in a real store each time; and as two segments, the
second of which begins from the first one's artifact. Parameters, optimizer state and loss trace must have the same
sha256. Exits 1, and says which files differ, if they do not; and when a run ended before it could be disturbed. The
certificate names the steps at which disturbed runs went on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from artifacts.address import Address
from artifacts.encoding import canonical, digest
from artifacts.lease import HeldLease
from artifacts.store import Store
from benchmarks.support.rows import library_rows
from core.data.rows import RowsWriter
from core.planning.pretraining import base_stage
from core.recipes.table import find_recipe
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind
from core.stages.report import Progress, parse
from core.stages.runtime import Kernels, Runtime
from core.stages.specification import Outcome, Specification, read_outcomes
from tasks.launch import Launcher, command
from tasks.supervise import CHILD_DEFAULTS

COMPARED = ("model.safetensors", "optimizer.safetensors", "loss.jsonl")
ROWS = 256  # of the stream; it is read again when it ends
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Disturbance:
    """A signal, sent once a process has reported that it has taken `step` steps of its segment in all."""

    step: int
    number: signal.Signals


@dataclass(frozen=True)
class Attempt:
    """How one process of a run ended, and where it began."""

    outcome: Outcome | None  # None: killed
    continued_at: int | None  # the step of its checkpoint, if it had one


@dataclass(frozen=True)
class Run:
    """What came out of a run."""

    folder: Path
    continued_at: list[int]


@dataclass(frozen=True)
class Laboratory:
    """Where runs take place, and what they read."""

    root: Path
    ranks: int
    kernels: Kernels
    checkpoint_seconds: float

    def run(self, name: str, identity: TrainingIdentity, previous: Path | None, disturbances: list[Disturbance]) -> Run:
        """Train `identity` to its end, disturbed on the way."""
        output, attempts = self.root / name / "output", []
        for disturbance in [*disturbances, None]:
            with self._lease(name) as (store, lease):
                output.mkdir(parents=True, exist_ok=True)
                for left in output.iterdir():
                    left.unlink()
                attempt = self._attempt(name, identity, previous, store, lease, disturbance)
            attempts.append(attempt)
            finished = attempt.outcome is not None and attempt.outcome.status == "finished"
            if finished and disturbance:
                raise SystemExit(f"{name}: ended before {disturbance.number.name} reached it; ask for more steps")
        outcome = attempts[-1].outcome
        if outcome is None or outcome.status != "finished":
            raise SystemExit(f"{name}: ended without its artifact: {outcome.error if outcome else 'no outcome'}")
        (self.root / name / "numerics.json").write_text(json.dumps(canonical({**outcome.numerics, **outcome.metrics})))
        return Run(output, [attempt.continued_at for attempt in attempts if attempt.continued_at is not None])

    @contextmanager
    def _lease(self, name: str) -> Iterator[tuple[Store, HeldLease]]:
        store = Store.open((self.root / "store").as_uri(), cache=self.root / "cache")
        lease = store.leases.acquire(self._address(name), purpose="exactness", ttl=LEASE_SECONDS)
        assert isinstance(lease, HeldLease)
        try:
            with lease.kept_alive():
                yield store, lease
        finally:
            lease.release()

    def _address(self, name: str) -> Address:
        return Address(StageKind.PRETRAIN.value, name, digest({"name": name}))

    def _attempt(
        self,
        name: str,
        identity: TrainingIdentity,
        previous: Path | None,
        store: Store,
        lease: HeldLease,
        disturbance: Disturbance | None,
    ) -> Attempt:
        folder = self.root / name / f"attempt-{lease.token}"
        folder.mkdir(parents=True)
        self._specification(name, identity, previous, store, lease).write(folder / "specification.json")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command(Launcher.TORCHRUN, folder / "specification.json", self.ranks),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**CHILD_DEFAULTS, "PYTHONPATH": os.pathsep.join(sys.path), **os.environ},
            )
            continued_at = _accompany(process, disturbance)
        return Attempt(next((outcome for outcome in read_outcomes(folder) if outcome.rank == 0), None), continued_at)

    def _specification(
        self, name: str, identity: TrainingIdentity, previous: Path | None, store: Store, lease: HeldLease
    ) -> Specification:
        inputs = {role: str(self.root / role) for role in ("group-000", "validation", "tokenizer")}
        return Specification(
            kind=StageKind.PRETRAIN,
            name=name,
            key=self._address(name).key,
            identity=_fields(identity),
            inputs=inputs if previous is None else {**inputs, "previous": str(previous)},
            output=str(self.root / name / "output"),
            scratch=str(self.root / name / f"attempt-{lease.token}" / "scratch"),
            store=store.url,
            token=lease.token,
            runtime=Runtime(
                processes=self.ranks,
                checkpoint_seconds=self.checkpoint_seconds,
                evaluate_steps=10**9,
                validation_batches=1,
                kernels=self.kernels,
            ),
        )


def _accompany(process: subprocess.Popen[str], disturbance: Disturbance | None) -> int | None:
    """Read what a run says until it ends, and disturb it on the way; the step from which it said it continues."""
    continued_at = None
    assert process.stdout is not None
    for line in process.stdout:
        told = parse(line.rstrip("\n"))
        if isinstance(told, str) and told.startswith("continuing at step "):
            continued_at = int(told.split()[3])
        if disturbance and isinstance(told, Progress) and told.done >= disturbance.step:
            _send(process.pid, disturbance.number)
            disturbance = None
    process.wait()
    return continued_at


def _fields(identity: TrainingIdentity) -> Mapping[str, object]:
    fields = canonical(identity)
    assert isinstance(fields, dict)
    return fields


def _send(leader: int, number: signal.Signals) -> None:
    """`kill -9` goes to the launcher and everything below it; SIGTERM to the launcher, which passes it on."""
    family = [psutil.Process(leader)]
    if number == signal.SIGKILL:
        family += family[0].children(recursive=True)
    for member in family:
        member.send_signal(number)


def write_inputs(root: Path, identity: TrainingIdentity) -> None:
    """Rows of bytes to train and validate on, and the table of token lengths."""
    row_tokens, vocabulary = identity.architecture.sequence_length + 1, identity.architecture.vocabulary_size
    for name, rows in (("group-000", ROWS), ("validation", 1)):
        (root / name).mkdir()
        with RowsWriter(root / name, "rows", row_tokens, vocabulary) as writer:
            writer.append(library_rows(rows, row_tokens))
    (root / "tokenizer").mkdir()
    np.save(root / "tokenizer" / "token_bytes.npy", np.ones(vocabulary, dtype=np.int32))


def hashes(folders: list[Path]) -> dict[str, str]:
    """sha256 by file; the loss trace of several segments is one trace, their last weights count."""
    content = {name: (folders[-1] / name).read_bytes() for name in COMPARED}
    content["loss.jsonl"] = b"".join((folder / "loss.jsonl").read_bytes() for folder in folders)
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def main() -> None:
    """Train, compare, print the certificate."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", default="tiny", help="recipe whose architecture, optimizer and precision are used")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp8"), help="instead of the recipe's own")
    parser.add_argument("--kernels", choices=("deterministic", "fastest"), default="deterministic")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps (default: 40)")
    parser.add_argument("--batch-tokens", type=int, help="instead of the recipe's own")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1, help="disturbed runs (default: 1)")
    parser.add_argument("--checkpoint-seconds", type=float, default=0.5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the certificate there")
    arguments = parser.parse_args()
    identity = base_stage(find_recipe(arguments.tag)).identity
    assert isinstance(identity, TrainingIdentity)
    identity = replace(
        identity,
        precision=arguments.precision or identity.precision,
        batch_tokens=arguments.batch_tokens or identity.batch_tokens,
        steps=arguments.steps,
        first_step=0,
        end_step=arguments.steps,
        use_rope=True,
    )
    with TemporaryDirectory(prefix="miniseries-exactness-") as folder:
        laboratory = Laboratory(Path(folder), arguments.ranks, arguments.kernels, arguments.checkpoint_seconds)
        write_inputs(laboratory.root, identity)
        certificate = certify(laboratory, identity, arguments.repeat)
    text = json.dumps(certificate, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if certificate["identical"] else 1)


def certify(laboratory: Laboratory, identity: TrainingIdentity, repeat: int) -> dict[str, object]:
    """Train all ways and compare; JSON values."""
    steps = identity.steps
    undisturbed = hashes([laboratory.run("undisturbed", identity, None, []).folder])
    half = replace(identity, end_step=steps // 2)
    trunk = laboratory.run("trunk", half, None, []).folder
    branch = laboratory.run("branch", replace(identity, first_step=steps // 2), trunk, []).folder
    compared = {"two segments": hashes([trunk, branch])}
    at = [Disturbance(steps // 4, signal.SIGTERM), Disturbance(steps // 2, signal.SIGKILL)]
    continued_at = {}
    for number in range(1, repeat + 1):
        run = laboratory.run(f"run-{number}", identity, None, at)
        name = f"interrupted twice, run {number}"
        compared[name], continued_at[name] = hashes([run.folder]), run.continued_at
    numerics = json.loads((laboratory.root / "undisturbed" / "numerics.json").read_text())
    differing = {
        name: [file for file in COMPARED if found[file] != undisturbed[file]]
        for name, found in compared.items()
        if found != undisturbed
    }
    return {
        "identical": not differing,
        "compared": list(compared),
        "continued_at_steps": continued_at,
        "differing": differing,
        "numerics": {name: numerics[name] for name in sorted(numerics)},
        "precision": identity.precision,
        "kernels": laboratory.kernels,
        "steps": steps,
        "batch_tokens": identity.batch_tokens,
        "sha256": undisturbed,
    }


if __name__ == "__main__":
    main()
