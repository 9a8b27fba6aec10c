"""What stands beside a finished long_context stage."""

from __future__ import annotations

from tasks.long_context import summary


def test_it_says_the_greatest_length_read_as_it_is() -> None:
    metrics = {f"bits_per_byte/{name}": 1.25 for name in ("plain/1x", "plain/16x", "plain/2x", "yarn/32x")}
    assert summary(metrics) == "1.2500 bits per byte at 16x"


def test_it_says_when_no_text_was_long_enough() -> None:
    assert summary({"needles/plain/1x": 0.5}) == "no held-out text is long enough"
