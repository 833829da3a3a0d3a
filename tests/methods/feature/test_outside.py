"""Out-of-scope scores against the definition, scikit-learn and limits."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from transfuse.errors import DataError
from transfuse.evaluation import auroc
from transfuse.methods.feature.outside import Mahalanobis, energy


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 30)
    means = np.repeat(generator.normal(size=(3, 6)) * 3, 30, axis=0)
    return means + generator.normal(size=(90, 6)) * [3, 1, 1, 1, 1, 0.2], labels


def test_mahalanobis_is_the_distance_of_scikit_learn(rows):
    x, labels = rows
    means = np.stack([x[labels == c].mean(0) for c in "abc"])
    within = x - np.repeat(means, 30, axis=0)
    fitted = LedoitWolf(assume_centered=True).fit(within)
    asked = x[:10] + 0.5
    expected = -np.min([fitted.mahalanobis(asked - mean) for mean in means], axis=0)
    assert Mahalanobis(x, labels).score(asked) == pytest.approx(expected)
    whole = LedoitWolf().fit(x)
    relative = Mahalanobis(x, labels, relative=True).score(asked)
    assert relative == pytest.approx(expected + whole.mahalanobis(asked))


def test_mahalanobis_sees_a_shift_in_a_narrow_direction(rows):
    x, labels = rows
    shifted = x + np.array([0, 0, 0, 0, 0, 2])
    score = Mahalanobis(x, labels).score
    assert auroc(score(x), score(shifted)) > 0.95


def test_one_row_a_class_is_the_nearest_row():
    score = Mahalanobis(np.array([[0.0, 1.0], [1.0, 0.0]]), ["a", "b"]).score(np.array([[0.1, 0.9], [3.0, 3.0]]))
    assert np.isfinite(score).all()
    assert score[0] > score[1]


def test_mahalanobis_refuses_rows_without_labels(rows):
    x, labels = rows
    with pytest.raises(DataError, match=r"features \(90, 6\) with labels \(89,\)"):
        Mahalanobis(x, labels[:-1])


def test_energy_is_the_largest_logit_at_a_low_temperature_and_falls_with_all_logits():
    logits = np.random.default_rng(0).normal(size=(20, 5))
    assert energy(logits, temperature=1e-4) == pytest.approx(logits.max(1), abs=1e-3)
    assert energy(logits - 3) == pytest.approx(energy(logits) - 3)
    assert energy(np.zeros((1, 4)))[0] == pytest.approx(np.log(4))
