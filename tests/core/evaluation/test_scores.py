"""ChatCORE: its value by hand, and its interval against simulation."""

from __future__ import annotations

from random import Random

import pytest

from core.evaluation.scores import TaskScore, mean_centered


def scored(task: str, correct: int, asked: int, baseline: float) -> TaskScore:
    return TaskScore(task=task, baseline=baseline, asked=asked, correct=correct, too_long=0)


def test_guessing_scores_zero_everything_right_one_and_worse_than_guessing_less_than_zero() -> None:
    guessing, perfect, worse = (scored("mmlu", correct, 100, 0.25) for correct in (25, 100, 0))
    assert mean_centered([guessing]).value == 0
    assert mean_centered([perfect]).value == 1
    assert mean_centered([worse]).value == pytest.approx(-1 / 3)


def test_it_is_the_mean_over_tasks_however_many_questions_each_has() -> None:
    core = mean_centered([scored("mmlu", 5000, 10_000, 0.25), scored("gsm8k", 1, 4, 0.0)])
    assert core.value == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert (core.sample_size, core.sample_unit) == (2, "tasks")


def test_the_interval_of_one_task_is_its_wilson_interval_centered() -> None:
    one = scored("arc-easy", 30, 80, 0.25)
    assert one.accuracy.interval is not None
    assert mean_centered([one]).interval == pytest.approx([(bound - 0.25) / 0.75 for bound in one.accuracy.interval])


def test_the_interval_holds_the_true_value_about_95_times_in_100() -> None:
    random = Random(1)
    truth = [("mmlu", 0.32, 300, 0.25), ("gsm8k", 0.03, 120, 0.0), ("spelling-bee", 0.98, 64, 0.0)]
    true_core = sum((share - baseline) / (1 - baseline) for _, share, _, baseline in truth) / len(truth)
    held, trials = 0, 1000
    for _ in range(trials):
        drawn = [
            scored(task, sum(random.random() < share for _ in range(asked)), asked, baseline)
            for task, share, asked, baseline in truth
        ]
        interval = mean_centered(drawn).interval
        assert interval is not None
        held += interval[0] <= true_core <= interval[1]
    assert 0.93 <= held / trials <= 0.98
