"""What is kept of a run's records where not all of them are wanted."""

from __future__ import annotations

from core.training.trace import Trace


def test_an_outline_has_every_measurement_and_evenly_spaced_steps() -> None:
    trace = Trace()
    for step in range(1000):
        if step % 250 == 0:
            trace.measure(step, {"validation_bpb": 2.0})
        trace.add_step(step, {"loss": 3.0, "rate_multiplier": 1.0})
    outline = trace.outline(10)
    assert [record["step"] for record in outline if "validation_bpb" in record] == [0, 250, 500, 750]
    assert [record["step"] for record in outline if "loss" in record] == list(range(0, 1000, 100))
    assert [record["step"] for record in outline] == sorted(record["step"] for record in outline)


def test_an_outline_of_few_steps_has_them_all_and_one_of_none_is_empty() -> None:
    trace = Trace()
    assert trace.outline(10) == []
    for step in range(7):
        trace.add_step(step, {"loss": 3.0, "rate_multiplier": 1.0})
    assert trace.outline(10) == trace.metrics
