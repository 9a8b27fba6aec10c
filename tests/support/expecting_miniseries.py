"""The micro command line with two more tags, one base model: `expecting_few` shard groups, and `expecting_many`.

Three of eight groups hold what it reads; the recipes expect one and six. It ends with its base model.
"""

from __future__ import annotations

from dataclasses import replace

import micro_miniseries

from core.recipes.table import recipes
from flows.command_line import main

EXPECTED_ROWS = {"expecting_few": 2000, "expecting_many": 200}  # of a group; it has about 400
STEPS = 130  # of 8 rows


def register() -> None:
    """Add the tags to the table of this process."""
    micro_miniseries.register()
    micro = recipes()["micro"]
    for tag, rows in EXPECTED_ROWS.items():
        recipes()[tag] = replace(
            micro,
            tag=tag,
            trunk="expecting",
            corpus=replace(
                micro.corpus, shards_per_group=1, tokens_per_shard=rows * micro.architecture.sequence_length
            ),
            pretraining=replace(micro.pretraining, steps=STEPS),
            finetuning=None,
        )


if __name__ == "__main__":
    register()
    main()
