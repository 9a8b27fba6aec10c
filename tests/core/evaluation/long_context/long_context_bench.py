"""The stage on a toy model and a held-out shard of random words, in folders."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from kept_checkpoints import KeptCheckpoints

from core.data.corpus.artifact import Corpus, Shard, shard_file, write_documents
from core.data.tokenizer import Tokenizer
from core.evaluation.long_context import stage
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState, Phase, save
from core.model.transformer import Transformer
from core.recipes.recipe import Direction, LongContext
from core.recipes.tiny import OPTIMIZATION
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS
from core.stages.context import Metrics, StageContext
from core.stages.identity import LongContextIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

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
        most: int = 1_000_000,
    ) -> StageContext[LongContextIdentity]:
        """What the stage is told; a second call goes on with the checkpoints of the first."""
        self._model(phase, use_rope, direction)
        (self.root / "tokenizer").mkdir(exist_ok=True)
        self.tokenizer.save(self.root / "tokenizer")
        self._corpus(some_texts([40, 700, 90, 600, 30, 130, 300, 555, 10, 800] * 3) if texts is None else texts)
        number = len(list(self.root.glob("output-*")))
        folders = [self.root / f"{name}-{number}" for name in ("output", "scratch")]
        kept = self.root / "checkpoints"
        for folder in (*folders, kept):
            folder.mkdir(exist_ok=True)
        return StageContext(
            name="long",
            key="0" * 64,
            identity=LongContextIdentity(measured=measured, shard=SHARD),
            inputs={name: self.root / name for name in ("model", "tokenizer", "corpus")},
            output=folders[0],
            scratch=folders[1],
            checkpoints=KeptCheckpoints(kept, most),  # type: ignore[arg-type]
            report=Reporter(io.StringIO()),
            runtime=replace(Runtime(), checkpoint_seconds=0.0 if most < 1_000_000 else 600.0),
        )

    def run(self, *arguments: object, **options: object) -> tuple[Path, Metrics]:
        """Run the stage; its folder and metrics."""
        context = self.context(*arguments, **options)  # type: ignore[arg-type]
        return context.output, stage.produce(context)

    def _model(self, phase: Phase, use_rope: bool, direction: Direction) -> None:
        (self.root / "model").mkdir(exist_ok=True)
        state = ModelState(
            phase=phase,
            step=7,
            steps=9,
            use_rope=use_rope,
            direction=direction,
            sequence_length=TRAINED,
            batch_tokens=TRAINED,
            tokens_seen=700,
            precision="fp32",
            seed=1,
            architecture=ARCHITECTURE,
            optimization=OPTIMIZATION,
        )
        save(self.root / "model", state, self.build(use_rope).state_dict())

    def _corpus(self, texts: Sequence[str]) -> None:
        (self.root / "corpus").mkdir(exist_ok=True)
        write_documents(self.root / "corpus" / shard_file(SHARD), texts)
        shard = Shard(number=SHARD, file=shard_file(SHARD), documents=len(texts), characters=sum(map(len, texts)))
        Corpus(source="toy", revision="1", validation_shard=SHARD, shards=(shard,)).save(self.root / "corpus")
