"""The micro command line with one more tag, `grouped`: the same text dealt to eight shard groups, all of them needed.

It would train for long; tests end it once its groups are there.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import micro_miniseries

from core.recipes.table import recipes
from flows.command_line import guarded, main

TAG = "grouped"


def register() -> None:
    """Add the tag to the table of this process."""
    micro_miniseries.register()
    micro = recipes()["micro"]
    recipes()[TAG] = replace(
        micro,
        tag=TAG,
        trunk=TAG,
        corpus=replace(micro.corpus, shards_per_group=1),
        pretraining=replace(micro.pretraining, steps=4000),
    )


if __name__ == "__main__":
    register()
    if sys.argv[1] == "make":
        sys.exit(guarded(lambda: micro_miniseries.make(*sys.argv[2:])))
    main()
