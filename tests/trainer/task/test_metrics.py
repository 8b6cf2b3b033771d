"""The metrics against scikit-learn's, and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from autoglm_trainer.metrics import bootstrap, interval, latency_p95_ms
from autoglm_trainer.metrics.classes import measure
from autoglm_trainer.predictions.classes import ClassPredictions


def random_answers(rows: int = 40, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.dirichlet(np.ones(labels), rows), draw.integers(0, labels - 1, rows)


def predictions(probabilities: np.ndarray, truth: np.ndarray) -> ClassPredictions:
    labels = tuple(map(str, range(probabilities.shape[1])))
    return ClassPredictions(labels, truth, probabilities, ("",) * len(truth))


def test_metrics_are_those_of_scikit_learn() -> None:
    probabilities, truth = random_answers()
    predicted = probabilities.argmax(1)
    assert measure(probabilities, truth) == pytest.approx(
        {
            "accuracy": accuracy_score(truth, predicted),
            "f1_macro": f1_score(truth, predicted, average="macro", zero_division=0),
            "precision": precision_score(truth, predicted, average="macro", zero_division=0),
            "recall": recall_score(truth, predicted, average="macro", zero_division=0),
            "loss": log_loss(truth, probabilities, labels=range(5)),
        }
    )


def test_a_certain_wrong_answer_costs_much_but_not_infinitely() -> None:
    assert math.isfinite(measure(np.array([[1.0, 0.0]]), np.array([1]))["loss"])


def test_one_nan_makes_every_metric_nan() -> None:
    probabilities, truth = random_answers()
    probabilities[3, 2] = np.nan
    assert all(math.isnan(value) for value in measure(probabilities, truth).values())


def test_intervals_hold_the_value_narrow_with_rows_and_follow_the_seed() -> None:
    probabilities, truth = random_answers(rows=30)
    widths = []
    for times in (1, 10):
        more = predictions(np.tile(probabilities, (times, 1)), np.tile(truth, times))
        (resampled,) = bootstrap([more.measure], len(more), seed=1, resamples=300)
        low, high = interval(resampled["accuracy"])
        assert low <= more.measure()["accuracy"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    once = predictions(probabilities, truth)
    first, again = (bootstrap([once.measure], len(once), seed=1, resamples=9)[0]["loss"] for _ in range(2))
    assert np.array_equal(first, again)


def test_models_are_compared_on_the_same_resampled_rows() -> None:
    same = predictions(*random_answers())
    one, two = bootstrap([same.measure, same.measure], len(same), seed=1, resamples=20)
    assert np.array_equal(one["f1_macro"], two["f1_macro"])


def test_latency_is_the_95th_percentile_of_single_calls_after_a_warm_up() -> None:
    now, rows = 0.0, []

    def clock() -> float:
        return now

    def forward(row: int) -> None:
        nonlocal now
        now += 9.0 if len(rows) < 3 else 0.010
        rows.append(row)

    assert latency_p95_ms(forward, 50, clock=clock) == pytest.approx(10.0)
    assert rows == [0, 1, 2, *range(20)]
