"""What stands beside finished stages of CORE."""

from __future__ import annotations

from tasks import core_bundle, core_metric


def test_core_is_told_with_the_number_of_its_tasks() -> None:
    assert core_metric.summary({"core": 0.2567, "accuracy/copa": 0.7, "accuracy/piqa": 0.6}) == "CORE 0.2567 of 2 tasks"


def test_a_bundle_is_told_with_what_is_missing() -> None:
    metrics = {"tasks": 21, "examples": 91_000, "missing": ["jeopardy"], "sha256": "ab"}
    assert core_bundle.summary(metrics) == "21 tasks, 91,000 questions, 1 missing"
    assert core_bundle.summary({**metrics, "missing": []}) == "21 tasks, 91,000 questions"
