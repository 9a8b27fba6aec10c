"""The stage on a toy model and a held-out shard of random words, in folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from toy_stage import UNDISTURBED, toy_context, write_toy_model

from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.tokenizer import Tokenizer
from core.evaluation.long_context import stage
from core.model.architecture import Architecture
from core.model.checkpoint import Phase
from core.model.transformer import Transformer
from core.recipes.recipe import Direction, LongContext
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS
from core.stages.context import Metrics, StageContext
from core.stages.identity import LongContextIdentity

TRAINED = 64  # T: short, so that 8x is 512
SHARD = 3  # the held-out one
ARCHITECTURE = Architecture(
    depth=2,
    width=32,
    heads=2,
    key_value_heads=2,
    head_width=16,
    mlp="swiglu",
    mlp_width=64,
    vocabulary_size=256 + len(SPECIAL_TOKENS) + len(DIRECTION_TOKENS),
    sequence_length=TRAINED,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)
MEASURED = LongContext(
    factors=(1, 2, 4, 8),
    documents=3,
    fitting_documents=2,
    needle_trials=3,
    needle_depths=3,
    choices=3,
    answer_tokens=60,
    seed=7,
)


def some_texts(lengths: Sequence[int]) -> list[str]:
    """Random words, so many characters each."""
    random = Random(5)
    words = ("river", "stone", "of", "and", "light", "house", "under", "the", "walks", "slowly")
    return [" ".join(random.choices(words, k=length))[:length] for length in lengths]


@dataclass(frozen=True)
class Bench:
    """Inputs of the stage in folders."""

    root: Path
    tokenizer: Tokenizer
    build: Callable[..., Transformer]

    def context(
        self,
        phase: Phase,
        *,
        use_rope: bool,
        direction: Direction = "forward",
        measured: LongContext = MEASURED,
        texts: Sequence[str] | None = None,
        most: int = UNDISTURBED,
    ) -> StageContext[LongContextIdentity]:
        """What the stage is told; a second call goes on with the checkpoints of the first."""
        write_toy_model(self.root / "model", self.build(use_rope), phase, direction)
        (self.root / "tokenizer").mkdir(exist_ok=True)
        self.tokenizer.save(self.root / "tokenizer")
        self._corpus(some_texts([40, 700, 90, 600, 30, 130, 300, 555, 10, 800] * 3) if texts is None else texts)
        inputs = {name: self.root / name for name in ("model", "tokenizer", "corpus")}
        return toy_context(self.root, LongContextIdentity(measured=measured, shard=SHARD), inputs, most)

    def run(self, *arguments: object, **options: object) -> tuple[Path, Metrics]:
        """Run the stage; its folder and metrics."""
        context = self.context(*arguments, **options)  # type: ignore[arg-type]
        return context.output, stage.produce(context)

    def _corpus(self, texts: Sequence[str]) -> None:
        (self.root / "corpus").mkdir(exist_ok=True)
        write_documents(self.root / "corpus" / shard_file(SHARD), texts)
        shard = Shard(number=SHARD, file=shard_file(SHARD), documents=len(texts), characters=sum(map(len, texts)))
        Corpus(source="toy", revision="1", validation_shard=SHARD, shards=(shard,)).save(self.root / "corpus")
