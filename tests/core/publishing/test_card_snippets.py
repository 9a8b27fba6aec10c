"""What a card tells its reader to paste runs as it stands, beside the published folders, and says what the model says.

Real exports of small models with random weights: without positions (base and chat), and ReLU^2 with them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rustbpe
import torch

from core.data.tokenizer import Tokenizer
from core.model.checkpoint import ModelState, load_model
from core.planning.pipeline import HF_FORMAT, NATIVE_FORMAT
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.identity import ExportIdentity

NEW_TOKENS = 64
END = "=== end of a snippet ==="
PROMPTS = {
    "base": "<|bos|>The capital of France is",
    "sft": "<|bos|><|user_start|>Spell the word: apple<|user_end|><|assistant_start|>",
}
PRODUCERS: dict[str, Callable[[str], tuple[str, ExportIdentity]]] = {
    "native": lambda phase: ("core.export.native", ExportIdentity(format_version=NATIVE_FORMAT, phase=phase)),
    "hf": lambda phase: ("core.export.huggingface", ExportIdentity(format_version=HF_FORMAT, phase=phase)),
}


def load_fabrications() -> ModuleType:
    """The fabricated models of the export's own tests."""
    path = Path(__file__).parents[1] / "export" / "conftest.py"
    specification = importlib.util.spec_from_file_location("export_fabrications", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Published:
    """A published tag, and what each of its repositories ought to say."""

    hub: Path
    expected: dict[str, str]  # end of the repository's name -> text

    def snippet(self, name: str) -> str:
        """The Python of one card."""
        [card] = self.hub.glob(f"lab/*drope_50-{name}/README.md")
        return card.read_text().split("```python\n")[1].split("```")[0]

    def run(self, names: Sequence[str], packages: str = "") -> list[str]:
        """What the snippets print, in one process that knows nothing of this project; `packages` go before ours."""
        programs = [self.snippet(name) for name in names]
        driver = "import sys\nfor text in sys.argv[2:]:\n    exec(text, {})\n    print(sys.argv[1])"
        outside = {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.hub / "cache"),
            "PYTHONPATH": packages,
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            [sys.executable, "-c", driver, END, *programs],
            cwd=self.hub,
            env={**os.environ, **outside},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return [text.removesuffix("\n") for text in done.stdout.decode().split(f"{END}\n")[:-1]]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer artifact; its text has every byte that the prompts need."""
    folder = tmp_path_factory.mktemp("tokenizer")
    fabrications = load_fabrications()
    trainer = rustbpe.Tokenizer()
    size = fabrications.VOCABULARY - len(SPECIAL_TOKENS)
    trainer.train_from_iterator(iter(fabrications.TEXT), size, pattern=SPLIT_PATTERN)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks).save(folder)
    return folder


def publish(
    stage: Any, tokenizer_folder: Path, states: dict[str, ModelState], layouts: Sequence[str] = tuple(PRODUCERS)
) -> Published:
    """Fabricate, export and publish the models; then ask them directly what the snippets should print."""
    fabrications, expected = load_fabrications(), {}
    stage.inputs = {role: path for role, path in stage.inputs.items() if role.rpartition("-")[2] in states}
    for phase, state in states.items():
        model = stage.root / "made" / phase
        model.mkdir(parents=True)
        fabrications.write_model(model, state)
        for layout in layouts:
            output = stage.root / "made" / f"{layout}-{phase}"
            fabrications._run_export.make(*PRODUCERS[layout](phase), model, tokenizer_folder, output)
            stage.inputs[f"{layout}-{phase}"] = output
        tokenizer = Tokenizer.load(tokenizer_folder)
        expected[phase] = greedy(model, tokenizer, phase, skip_special_tokens=False)
        expected[f"hf-{phase}"] = greedy(model, tokenizer, phase, skip_special_tokens=True)
    stage.run(url=str(stage.root / "hub"))
    return Published(stage.root / "hub", expected)


def greedy(folder: Path, tokenizer: Tokenizer, phase: str, *, skip_special_tokens: bool) -> str:
    """The likeliest continuation, token by token, with neither a cache nor anything else that is ours but the model."""
    tokens = tokenizer.encoding.encode(PROMPTS[phase], allowed_special="all")
    ends = {tokenizer.special("<|assistant_end|>"), tokenizer.bos} if phase == "sft" else {tokenizer.bos}
    written = likeliest(folder, tokens, ends)
    special = set(map(tokenizer.special, SPECIAL_TOKENS)) if skip_special_tokens else set()
    return tokenizer.encoding.decode([token for token in written if token not in special])


def likeliest(folder: Path, tokens: list[int], ends: set[int]) -> list[int]:
    """What the model writes after `tokens`."""
    model, written = load_model(folder), list[int]()
    with torch.no_grad():
        while len(written) < NEW_TOKENS and not ends & set(written):
            written.append(int(model(torch.tensor([tokens + written]))[0, -1].argmax()))
    return written


@pytest.mark.parametrize(
    "packages",
    [
        pytest.param("", id="installed"),
        pytest.param(
            os.environ.get("MINISERIES_TRANSFORMERS_4", ""),
            id="transformers-4",
            marks=pytest.mark.skipif(
                "MINISERIES_TRANSFORMERS_4" not in os.environ, reason="see tests/core/export/test_transformers_4.py"
            ),
        ),
    ],
)
def test_the_snippets_of_a_model_without_positions_run_as_they_stand(
    stage: Any, tokenizer_folder: Path, packages: str
) -> None:
    base = replace(load_fabrications().STATE, use_rope=False)
    chat = replace(base, phase="sft", seed=43, tokens_seen=2 * base.tokens_seen)
    published = publish(stage, tokenizer_folder, {"base": base, "sft": chat})
    names = ["base", "sft", "hf-base", "hf-sft"]
    assert dict(zip(names, published.run(names, packages), strict=True)) == published.expected
    assert len({*published.expected.values()}) >= 2


def test_the_native_program_has_the_positions_and_mlp_of_its_model(stage: Any, tokenizer_folder: Path) -> None:
    fabrications = load_fabrications()
    base = replace(fabrications.STATE, architecture=fabrications.RELU2)
    published = publish(stage, tokenizer_folder, {"base": base}, layouts=["native"])
    assert published.run(["base"]) == [published.expected["base"]]


def test_the_snippets_of_a_model_that_reads_backward_say_what_precedes_a_text(
    stage: Any, tokenizer_folder: Path, tmp_path: Path
) -> None:
    fabrications, plain = load_fabrications(), Tokenizer.load(tokenizer_folder)
    fewer = {token: rank for token, rank in plain.ranks.items() if rank < len(plain.ranks) - len(DIRECTION_TOKENS)}
    tokenizer = Tokenizer(SPLIT_PATTERN, (*SPECIAL_TOKENS, *DIRECTION_TOKENS), fewer)
    (tmp_path / "marked").mkdir()
    tokenizer.save(tmp_path / "marked")
    published = publish(stage, tmp_path / "marked", {"base": replace(fabrications.STATE, direction="backward")})
    text = tokenizer.encode(" is the capital of France.")
    prompt = [tokenizer.bos, tokenizer.special("<|backward|>"), *text[::-1]]
    written = likeliest(stage.root / "made" / "base", prompt, {tokenizer.bos})
    special = set(map(tokenizer.special, tokenizer.special_tokens))
    shown = tokenizer.decode([token for token in written[::-1] if token not in special])
    assert published.run(["base", "hf-base"]) == [tokenizer.decode(written[::-1]), shown]
