"""Fabricated exports and evaluations of one tag, and the publish stage on them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import hub_server
import huggingface_hub.constants
import pytest

from core.evaluation.measurement import Measurement
from core.export.certificate import Certificate, Compared, at_most, describe, read_certificate
from core.export.native_meta import native_meta
from core.export.source import Source
from core.lineage.lineage import NO_LINEAGE
from core.model.checkpoint import ModelState
from core.publishing import hub as hub_destination
from core.publishing import patience, publish
from core.publishing.patience import Patience
from core.recipes import tiny
from core.stages.context import Metrics, StageContext
from core.stages.identity import PublishIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

TAG = "tiny_drope_50"
BASE = ModelState(
    phase="base",
    step=300,
    steps=300,
    use_rope=False,
    direction="forward",
    sequence_length=256,
    batch_tokens=4096,
    tokens_seen=300 * 4096,
    precision="fp32",
    seed=42,
    architecture=tiny.ARCHITECTURE,
    optimization=tiny.OPTIMIZATION,
)
CHAT = replace(BASE, phase="sft", step=50, steps=50, sequence_length=512, tokens_seen=350 * 4096)


PASSED = Certificate(
    layout="hf",
    passed=True,
    versions={"transformers": "5.23.0"},
    difference="",
    checks=(at_most("logits", 0.0, 1e-3, "largest difference of a logit", Compared(72, "positions", 42)),),
    files={},
)


@dataclass(frozen=True)
class Publication:
    """What one run of the stage did."""

    metrics: Metrics
    receipt: dict[str, Any]
    receipt_bytes: bytes
    log: str


@dataclass
class Stage:
    """The publish stage of one tag: its inputs, which tests may change, and how to run it."""

    root: Path
    inputs: dict[str, Path]
    tag: str = TAG
    vouched: bool = True  # whether each export brings a certificate of its files as they are when the stage runs
    runs: int = 0

    def certify(self) -> None:
        """Make the certificates of the Hugging Face exports be about their files as they are now."""
        for folder in (folder for role, folder in self.inputs.items() if role.startswith("hf-")):
            certificate = read_certificate(folder) if (folder / "certificate.json").exists() else PASSED
            replace(certificate, files=describe(folder)).write(folder)

    def run(
        self,
        *,
        url: str = "",
        destination: str = "folder",
        visibility: str = "private",
        collection: str | None = None,
    ) -> Publication:
        """Publish in an output and a scratch folder of its own."""
        self.runs += 1
        if self.vouched:
            self.certify()
        output, scratch = self.root / f"output-{self.runs}", self.root / f"scratch-{self.runs}"
        output.mkdir()
        scratch.mkdir()
        log = io.StringIO()
        context: StageContext[PublishIdentity] = StageContext(
            name=self.tag,
            key="0" * 64,
            identity=PublishIdentity(
                tag=self.tag, namespace="lab", visibility=visibility, collection=collection, destination=destination
            ),
            inputs=self.inputs,
            output=output,
            scratch=scratch,
            checkpoints=None,
            report=Reporter(log),
            runtime=Runtime(publication_url=url),
        )
        metrics = publish.produce(context)
        receipt = (output / "receipt.json").read_bytes()
        return Publication(metrics, json.loads(receipt), receipt, log.getvalue())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The stage with a base model and a fine-tune."""
    root = tmp_path / "artifacts"
    inputs: dict[str, Path] = {}
    for state in (BASE, CHAT):
        inputs[f"native-{state.phase}"] = _write_native(root / f"native-{state.phase}", state)
        inputs[f"hf-{state.phase}"] = _write_hf(root / f"hf-{state.phase}", state)
        inputs[f"evaluation-{state.phase}"] = _write_evaluation(root / f"evaluation-{state.phase}", state)
    made = Stage(tmp_path, inputs)
    made.certify()
    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> Iterator[Any]:
    """A Hub on this machine, and this process's client set up to use it with a token that may write."""
    server = hub_server.HubServer()
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
    template = template.replace(huggingface_hub.constants.ENDPOINT, server.url)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", hub_server.WRITE_TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield server
    server.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited between tries, or rather were not: nobody sleeps."""
    waited: list[float] = []
    for module in (hub_destination, patience):
        monkeypatch.setattr(module, "Patience", partial(Patience, sleep=waited.append))
    return waited


@pytest.fixture
def read_token() -> str:
    """A token that may not write."""
    token: str = hub_server.READ_TOKEN
    return token


@pytest.fixture
def set_token(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Replace the token of this process."""

    def change(token: str | None) -> None:
        if token is None:
            monkeypatch.delenv("HF_TOKEN")
        else:
            monkeypatch.setenv("HF_TOKEN", token)

    return change


def _write_native(folder: Path, state: ModelState) -> Path:
    folder.mkdir(parents=True)
    (folder / "loss.jsonl").write_text('{"step": 0, "loss": 3.5}\n')
    (folder / "metrics.jsonl").write_text('{"step": 300, "validation_bpb": 2.25}\n')
    meta = native_meta(Source(folder, state, tokenizer=None, shapes={}), NO_LINEAGE)
    (folder / "loss.jsonl").unlink()
    (folder / "metrics.jsonl").unlink()
    (folder / f"meta_{state.step:06d}.json").write_text(json.dumps(meta))
    for name in ("model_{:06d}.pt", "optim_{:06d}_rank0.pt"):
        (folder / name.format(state.step)).write_bytes(f"{name} {state.phase}".encode() * 100)
    return folder


def _write_hf(folder: Path, state: ModelState) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(f"weights of {state.phase}".encode() * 100)
    (folder / "config.json").write_text('{"model_type": "nanochat"}\n')
    return folder


def _write_evaluation(folder: Path, state: ModelState) -> Path:
    folder.mkdir(parents=True)
    results = {
        "bits_per_byte": Measurement(value=2.0625, unit="bits per byte", sample_size=98_765, sample_unit="bytes"),
        "exact_answers/simple-spelling": Measurement(
            value=0.5, unit="share", sample_size=64, sample_unit="questions", interval=(0.3812, 0.6188)
        ),
    }
    document = {"suite": state.phase, "results": {name: asdict(value) for name, value in results.items()}}
    (folder / "evaluation.json").write_text(json.dumps(document))
    (folder / "samples.md").write_text("# Samples\n")
    return folder
