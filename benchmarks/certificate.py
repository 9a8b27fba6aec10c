"""What converting and certifying a Hugging Face export take, by processor time: `python -m benchmarks.certificate`.

    --tag d20_20tpp_drope_50     the recipe whose widths, length and positions the model has
    --layers 4                   so many of its layers (default: all)

Weights are random and the vocabulary is single bytes: what is left out is the embedding and most of the head.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from core.data.tokenizer import Tokenizer
from core.export.certify import certify
from core.export.huggingface import hub_export, write_export
from core.export.source import Source, parameter_shapes
from core.model import checkpoint
from core.model.checkpoint import ModelState
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

ResultT = TypeVar("ResultT")


def main() -> int:
    """Convert and certify one model; 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", default="d20_20tpp_drope_50")
    parser.add_argument("--layers", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = fabricated(find_recipe(arguments.tag), arguments.layers, Path(folder) / "model")
        export = hub_export(source, Path(folder) / "export")
        export.folder.mkdir()
        print(f"{source.parameters:,} parameters, {source.state.sequence_length:,} tokens")
        timed("convert", lambda: write_export(export))
        certificate = timed("certify", lambda: certify(export, Path(folder)))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    return 0 if certificate.passed else 1


def fabricated(recipe: Recipe, layers: int | None, folder: Path) -> Source:
    """A model of that shape with random weights, as training leaves it, written tensor by tensor."""
    tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, {bytes([byte]): byte for byte in range(256)})
    architecture = replace(
        recipe.architecture,
        depth=layers or recipe.architecture.depth,
        vocabulary_size=tokenizer.vocabulary_size,
    )
    pretraining = recipe.pretraining
    state = ModelState(
        phase="base",
        step=pretraining.steps,
        steps=pretraining.steps,
        use_rope=pretraining.rope_drop is None,
        direction=pretraining.direction,
        sequence_length=architecture.sequence_length,
        batch_tokens=pretraining.batch_tokens,
        tokens_seen=pretraining.steps * pretraining.batch_tokens,
        precision=pretraining.precision,
        seed=pretraining.seed,
        architecture=architecture,
        optimization=pretraining.optimization,
    )
    shapes = parameter_shapes(architecture)
    folder.mkdir()
    checkpoint.save(folder, state, {name: torch.randn(shape) * shape[-1] ** -0.5 for name, shape in shapes.items()})
    return Source(folder, state, tokenizer, shapes)


def timed(name: str, work: Callable[[], ResultT]) -> ResultT:
    """Do it, and print what it took."""
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    print(f"{name}: {time.perf_counter() - clock:.0f} s, {time.process_time() - processor:.0f} s of processor time")
    return done


if __name__ == "__main__":
    sys.exit(main())
