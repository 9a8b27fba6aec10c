"""The real command line with one more family in its table: `micro`, whose stages take a second or two each.

    python micro_miniseries.py run micro_drope_50        the command line
    python micro_miniseries.py make micro pretrain       every stage up to the last of a kind, without Prefect
    python micro_miniseries.py hand micro pretrain       the first stage of a kind, as MINISERIES_DISPATCH says

`endless` has a trunk long enough to be killed in the middle of.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

from artifacts.store import Store
from core.planning.catalogue import find_stages, stages_of
from core.planning.stage import Stage, in_order
from core.planning.stream_length import measured_by, packed_by_manifest
from core.planning.title import unique_title
from core.recipes.recipe import Evaluation, Finetuning, MixtureTask, Recipe
from core.recipes.table import recipes
from core.stages.kind import StageKind
from flows.command_line import guarded, main
from flows.stopping import stop_once
from tasks.dispatch.dispatch import bring_about, check_dispatch
from tasks.display import LineDisplay
from tasks.launch import Launcher, launcher_of
from tasks.perform import Assignment, perform
from tasks.settings import settings_from_environment
from tasks.stage_threads import StageThreads
from tasks.stopping import stop_event

TORCHRUN = (StageKind.PRETRAIN, StageKind.RECALIBRATE, StageKind.SFT, StageKind.LONG_SFT)


def shrunk(recipe: Recipe, trunk: str, steps: int) -> Recipe:
    """A recipe of the tiny family with a smaller model, a smaller vocabulary and fewer steps."""

    def fewer(finetuning: Finetuning) -> Finetuning:
        return replace(
            finetuning,
            training=(MixtureTask(name="simple-spelling", rows=40), MixtureTask(name="spelling-bee", rows=20)),
            validation=(MixtureTask(name="simple-spelling", rows=8), MixtureTask(name="spelling-bee", rows=4)),
            batch_tokens=2048,
        )

    architecture = replace(
        recipe.architecture,
        width=64,
        heads=1,
        key_value_heads=1,
        mlp_width=128,
        vocabulary_size=512,
        sequence_length=64,
    )
    return replace(
        recipe,
        tag=recipe.tag.replace("tiny", trunk),
        trunk=trunk,
        architecture=architecture,
        tokenizer=replace(recipe.tokenizer, vocabulary_size=512, max_characters=400_000),
        pretraining=replace(recipe.pretraining, steps=steps, batch_tokens=512),
        finetuning=fewer(recipe.finetuning) if recipe.finetuning else None,
        long_finetuning=fewer(recipe.long_finetuning) if recipe.long_finetuning else None,
        evaluation=Evaluation(
            validation_tokens=2048,
            samples=2,
            sample_tokens=16,
            answer_tokens=16,
            questions=(MixtureTask(name="spelling-bee", rows=4), MixtureTask(name="word-choice", rows=8)),
        ),
        publication=replace(recipe.publication, twin=recipe.long_finetuning is not None),
    )


def register() -> None:
    """Add the micro families to the table of this process."""
    tiny = [recipe for tag, recipe in recipes().items() if tag.startswith("tiny") and recipe.finetuning]
    for trunk, steps in (("micro", 16), ("endless", 1200)):
        recipes().update({small.tag: small for small in (shrunk(recipe, trunk, steps) for recipe in tiny)})


def make(tag: str, kind: str) -> None:
    """Make every stage that the stages of `kind` need, and them; print their states by folder as JSON."""
    wanted = [stage for stage in stages_of(tag).values() if stage.kind.value == kind]
    logger = logging.getLogger("micro")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.INFO)
    settings, display, states = settings_from_environment(), LineDisplay(logger), {}
    with stop_once():
        while stage := following(wanted, states, settings.open_store()):
            launcher = Launcher.TORCHRUN if stage.kind in TORCHRUN else Launcher.PROCESS
            done = perform(
                Assignment(
                    stage=stage,
                    settings=settings,
                    launcher=launcher,
                    title=unique_title(stage),
                    display=display,
                )
            )
            states[stage.address.folder] = done.state
    print(json.dumps(states))


def hand(tag: str, kind: str) -> None:
    """Bring the first stage of `kind` about as a flow run would, in a thread that is asked to stop; print its state."""
    stage = find_stages(tag, kind)[0]
    logger = logging.getLogger("micro")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.INFO)
    settings = settings_from_environment()

    def bring() -> str:
        assignment = Assignment(
            stage=stage,
            settings=settings,
            launcher=launcher_of(stage.kind),
            title=unique_title(stage),
            display=LineDisplay(logger),
            stop=stop_event(),
        )
        return bring_about(tag, assignment).state

    check_dispatch(settings)
    with stop_once(), StageThreads[str](settings.grace_seconds) as threads:
        threads.start(stage.key, bring)
        print(threads.next_ended()[1])


def following(wanted: Iterable[Stage], states: Mapping[str, str], store: Store) -> Stage | None:
    """The first stage that has no state yet; how many shard groups there are is known once they are packed."""
    stages = in_order(wanted, measured_by(packed_by_manifest(store)))
    return next((stage for stage in stages if stage.address.folder not in states), None)


if __name__ == "__main__":
    register()
    if sys.argv[1] in ("make", "hand"):
        command = make if sys.argv[1] == "make" else hand
        sys.exit(guarded(lambda: command(*sys.argv[2:])))
    main()
