"""Temperature against scipy's minimiser and a known truth; reliability bins against the calibration error."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from transfuse.errors import DataError
from transfuse.evaluation import apply_temperature, ece, log_loss, reliability, temperature


@pytest.fixture
def drawn():
    """Logits [4000, 4] and labels drawn from their softmax: perfectly calibrated."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(4000, 4))
    chance = scipy.special.softmax(logits, axis=1)
    return logits, (chance.cumsum(axis=1) < generator.random((4000, 1))).sum(axis=1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_finds_the_factor_by_which_a_model_is_too_sure(drawn, factor):
    logits, labels = drawn
    found = temperature(logits * factor, labels)
    assert found == pytest.approx(factor, rel=0.05)
    assert ece(labels, apply_temperature(logits * factor, found)) < 0.03


def test_equals_scipys_minimiser(drawn):
    logits, labels = drawn[0] * 3, drawn[1]

    def loss(t):
        return -scipy.special.log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean()

    expected = scipy.optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10}).x
    assert temperature(logits, labels) == pytest.approx(expected, rel=1e-6)


def test_log_probabilities_are_logits_too(drawn):
    logits, labels = drawn
    assert temperature(scipy.special.log_softmax(logits, axis=1), labels) == pytest.approx(temperature(logits, labels))


def test_keeps_predictions_and_lowers_the_loss(drawn):
    logits, labels = drawn[0] * 5, drawn[1]
    before, after = apply_temperature(logits, 1.0), apply_temperature(logits, temperature(logits, labels))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    assert log_loss(labels, after) < log_loss(labels, before)
    np.testing.assert_allclose(before, scipy.special.softmax(logits, axis=1), atol=1e-12)


def test_minus_infinity_and_ends_of_the_bounds():
    logits = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    assert np.isfinite(apply_temperature(logits, 2.0)).all()
    assert temperature(logits, [0, 1]) == pytest.approx(0.05)
    assert temperature(logits, [1, 0]) == pytest.approx(20)
    assert temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1


def test_refuses_what_is_no_logit():
    for scores in ([[np.nan, 0.0]], [[np.inf, 0.0]]):
        with pytest.raises(DataError, match="not numbers"):
            temperature(scores, [0])
    with pytest.raises(DataError, match="2 labels but logits of 1"):
        temperature([[0.0, 1.0]], [0, 1])
    with pytest.raises(DataError, match="Temperature 0"):
        apply_temperature([[0.0, 1.0]], 0)
    with pytest.raises(DataError, match=r"\[examples, classes\]"):
        apply_temperature([0.0, 1.0], 1)


def test_bins_add_up_to_the_calibration_error(predictions):
    labels, probabilities = predictions
    bins = reliability(labels, probabilities)
    assert sum(item.n for item in bins) == 200
    assert all(item.low < item.confidence <= item.high for item in bins)
    by_hand = sum(item.n * abs(item.accuracy - item.confidence) for item in bins) / 200
    assert ece(labels, probabilities) == pytest.approx(by_hand)
    assert bins[0].to_dict().keys() == {"low", "high", "n", "confidence", "accuracy"}


def test_a_bin_holds_its_upper_edge():
    assert [(item.low, item.high) for item in reliability([0], [[0.6, 0.4]])] == [(8 / 15, 9 / 15)]
    assert [(item.low, item.high) for item in reliability([0], [[1.0, 0.0]])] == [(14 / 15, 1)]


def test_bins_of_repeats_are_counted_together(predictions):
    labels, probabilities = predictions
    twice = reliability(labels, np.stack([probabilities, probabilities]))
    once = reliability(labels, probabilities)
    assert [item.n for item in twice] == [2 * item.n for item in once]
    assert [item.accuracy for item in twice] == pytest.approx([item.accuracy for item in once])
