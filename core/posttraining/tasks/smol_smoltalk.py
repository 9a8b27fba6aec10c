"""General conversation: HuggingFaceTB/smol-smoltalk, 460K dialogues written for small models, 24K of them for tests."""

from __future__ import annotations

from dataclasses import replace

from core.posttraining.conversation import parse_conversation
from core.posttraining.tasks.hub import HubSplit, HubTask

TRAINING = HubSplit(
    repository="HuggingFaceTB/smol-smoltalk",
    config=None,
    split="train",
    revision="f73fe857d519ff6ac5af2ea67c4d3834da7b8bcc",
)

TASK = HubTask(
    name="smol-smoltalk",
    unique_answer=False,
    judge=None,
    training=TRAINING,
    validation=replace(TRAINING, split="test"),
    parse=parse_conversation,
)
