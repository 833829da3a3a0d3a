"""Intervals: against resampling by hand, against known spreads, by seed, by group, and where nothing varies."""

import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats

from transfuse.errors import DataError
from transfuse.evaluation import METRICS, bootstrap, metric_intervals


def binary(right):
    """Labels and probabilities [N, 2] whose predictions are right where told."""
    right = np.asarray(right, dtype=bool)
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    return labels, np.eye(2)[predicted] * 0.8 + 0.1


def test_equals_resampling_rows_by_hand(predictions):
    labels, probabilities = predictions
    weights = next(bootstrap.draws(len(labels), seed=3, rounds=40))
    assert weights.shape == (40, 200)
    assert (weights.sum(axis=1) == 200).all()
    intervals = metric_intervals(labels, probabilities, seed=3, rounds=40, confidence=0.8)
    assert list(intervals) == list(METRICS)
    for name, interval in intervals.items():
        function = METRICS[name][0]
        rows = [np.repeat(np.arange(200), w.astype(int)) for w in weights]
        figures = [function(labels[r], probabilities[r]) for r in rows]
        low, high = np.quantile(figures, [0.1, 0.9])
        value = function(labels, probabilities)
        assert interval.value == pytest.approx(value)
        assert interval.low == pytest.approx(min(low, value))
        assert interval.high == pytest.approx(max(high, value))


def test_repeats_are_averaged_and_resampled_together(predictions):
    labels, first = predictions
    second = np.roll(first, 1, axis=0)
    both = metric_intervals(labels, np.stack([first, second]), seed=0, rounds=50, names=["macro_f1"])["macro_f1"]
    weights = next(bootstrap.draws(200, seed=0, rounds=50))
    macro_f1 = METRICS["macro_f1"][0]
    figures = [(macro_f1(labels, first, w) + macro_f1(labels, second, w)) / 2 for w in weights]
    assert both.value == pytest.approx((macro_f1(labels, first) + macro_f1(labels, second)) / 2)
    assert [both.low, both.high] == pytest.approx(list(np.quantile(figures, [0.025, 0.975])))


def test_the_same_predictions_twice_are_no_more_certain(predictions):
    labels, probabilities = predictions
    once = metric_intervals(labels, probabilities, seed=0)
    twice = metric_intervals(labels, np.stack([probabilities, probabilities]), seed=0)
    assert once == twice


def test_seed_decides(predictions, monkeypatch):
    labels, probabilities = predictions
    first = metric_intervals(labels, probabilities, seed=5)
    assert metric_intervals(labels, probabilities, seed=5) == first
    assert metric_intervals(labels, probabilities, seed=6) != first
    monkeypatch.setattr(bootstrap, "BLOCK", 777)
    assert metric_intervals(labels, probabilities, seed=5) == first, "the memory used must not change the draws"


def test_width_is_that_of_a_share():
    labels, probabilities = binary(np.arange(1000) % 5 > 0)
    interval = metric_intervals(labels, probabilities, seed=0, rounds=4000, names=["accuracy"])["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert [interval.low, interval.high] == pytest.approx([0.8 - half, 0.8 + half], abs=0.003)


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator, held = np.random.default_rng(11), 0
    for trial in range(300):
        labels, probabilities = binary(generator.random(150) < 0.8)
        interval = metric_intervals(labels, probabilities, seed=trial, rounds=300, names=["accuracy"])["accuracy"]
        held += interval.low <= 0.8 <= interval.high
    assert 0.91 <= held / 300 <= 0.985


def test_groups_widen_the_interval_when_their_members_agree():
    groups = np.repeat(np.arange(20), 10)
    labels, probabilities = binary(np.isin(groups, np.arange(15)))
    alone = metric_intervals(labels, probabilities, seed=0, names=["accuracy"])["accuracy"]
    together = metric_intervals(labels, probabilities, seed=0, names=["accuracy"], groups=groups)["accuracy"]
    # All of a group is right or wrong: 20 units instead of 200, so sqrt(10) times as wide.
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(10), rel=0.15)


def test_groups_of_one_are_examples_in_the_order_of_first_sight(predictions):
    labels, probabilities = predictions
    keys = [f"reviewer {i}" for i in range(200)]
    grouped = metric_intervals(labels, probabilities, seed=0, groups=keys)
    assert grouped == metric_intervals(labels, probabilities, seed=0)


def test_no_error_seen_is_not_certainty():
    labels, probabilities = binary(np.ones(64))
    interval = metric_intervals(labels, probabilities, seed=0, names=["accuracy"])["accuracy"]
    exact = scipy.stats.binomtest(64, 64).proportion_ci(0.95, method="exact")
    assert (interval.value, interval.high) == (1, 1)
    assert interval.low == pytest.approx(exact.low)


def test_no_hit_seen_is_not_certainty():
    labels, probabilities = binary(np.zeros(30))
    interval = metric_intervals(labels, probabilities, seed=0, names=["micro_f1"])["micro_f1"]
    exact = scipy.stats.binomtest(0, 30).proportion_ci(0.95, method="exact")
    assert (interval.value, interval.low) == (0, 0)
    assert interval.high == pytest.approx(exact.high)


def test_ten_thousand_examples_of_150_classes_take_seconds():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(150, 0.1), size=10_000)
    labels = generator.integers(0, 150, size=10_000)
    start = time.process_time()
    metric_intervals(labels, probabilities, seed=0)
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": 0}, "0 bootstrap rounds"),
        ({"confidence": 95}, "Confidence 95"),
        ({"names": ["acuracy"]}, "Did you mean 'accuracy'"),
        ({"groups": ["a"]}, "1 groups for 4 examples"),
    ],
)
def test_refuses_settings(arguments, message):
    labels, probabilities = binary([1, 1, 0, 1])
    with pytest.raises(DataError, match=message):
        metric_intervals(labels, probabilities, seed=0, **arguments)


def test_importing_evaluation_loads_nothing_heavy():
    heavy = "('scipy', 'sklearn', 'pandas', 'torch')"
    code = f"import transfuse.evaluation, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
