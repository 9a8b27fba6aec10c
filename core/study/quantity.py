"""What a study compares models in: the quantities, how a cluster of each is called, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One thing that can be measured of two models on the same clusters."""

    name: str
    unit: str
    cluster: str  # what is drawn as a whole, in the plural
    better: Literal["lower", "higher"]


HELD_OUT = Quantity(name="held-out text", unit="bits per byte", cluster="rows", better="lower")
LONG_TEXT = Quantity(name="long text", unit="bits per byte", cluster="texts", better="lower")
NEEDLES = Quantity(name="needles found", unit="share of trials", cluster="trials", better="higher")
HIDDEN_WORDS = Quantity(name="hidden words found", unit="share of passages", cluster="passages", better="higher")
CORE = Quantity(name="CORE", unit="mean of centered accuracies", cluster="examples", better="higher")
CHAT = Quantity(name="ChatCORE", unit="mean of centered accuracies", cluster="questions", better="higher")

QUANTITIES = {one.name: one for one in (HELD_OUT, LONG_TEXT, NEEDLES, HIDDEN_WORDS, CORE, CHAT)}
