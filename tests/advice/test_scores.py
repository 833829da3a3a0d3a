"""Scores before training: hand calculations, another package, what must not change them, and shuffled labels."""

import numpy as np
import pytest

from transfuse.advice.distance import mean_discrepancy, proxy_a
from transfuse.advice.label_scores import leep, n_leep, nce
from transfuse.advice.scores import (
    bhattacharyya,
    h_score,
    log_evidence,
    nearest_neighbours,
    trans_rate,
    z_scored,
)

SCORES = {
    "nearest_neighbours": nearest_neighbours,
    "log_evidence": log_evidence,
    "h_score": h_score,
    "trans_rate": trans_rate,
    "bhattacharyya": bhattacharyya,
}


def rows(count=60, width=20, apart=2.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    means = generator.normal(size=(3, width))
    return (generator.normal(size=(count, width)) + apart * means[labels]).astype(np.float32), labels


@pytest.mark.parametrize("name", SCORES)
def test_features_that_separate_score_higher(name):
    score = SCORES[name]
    near, labels = rows(apart=0.3)
    far, _ = rows(apart=2.0)
    assert score(far, labels) > score(near, labels)
    shuffled = [score(far, np.random.default_rng(seed).permutation(labels)) for seed in range(10)]
    assert score(far, labels) > max(shuffled)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_features_unit_does_not_matter(name, factor):
    x, labels = rows()
    assert SCORES[name](x * np.float32(factor), labels) == pytest.approx(SCORES[name](x, labels), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_fewer_rows_than_dimensions_give_a_number(name):
    x, labels = rows(count=12, width=100)
    assert np.isfinite(SCORES[name](x, labels))


@pytest.mark.filterwarnings("error")
def test_features_that_never_differ_say_nothing_and_raise_nothing():
    labels = np.array([0, 1] * 6)
    for x in (np.zeros((12, 5), dtype=np.float32), np.ones((12, 5), dtype=np.float32)):
        found = {name: score(x, labels) for name, score in SCORES.items()}
        assert np.isfinite(list(found.values())).all()
        assert found["h_score"] == found["trans_rate"] == 0
        assert found["bhattacharyya"] == pytest.approx(-2)
        assert n_leep(x, labels) == pytest.approx(np.log(0.5))
    alone = -0.5 * (np.log(2 * np.pi * 6 / 12) + 1)
    assert log_evidence(np.zeros((12, 5)), labels) == pytest.approx(alone, abs=1e-6)


def test_two_rows_have_no_covariance_and_one_row_no_distance():
    x = np.random.default_rng(0).normal(size=(2, 30))
    assert np.isnan(h_score(x, np.array([0, 1])))
    assert np.isnan(mean_discrepancy(x[:1], x))
    assert np.isnan(mean_discrepancy(x, x[:1]))


def test_neighbours_by_hand():
    x = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    assert nearest_neighbours(x, np.array([0, 0, 1, 1]), neighbours=1) == 1
    assert nearest_neighbours(x, np.array([0, 1, 0, 1]), neighbours=1) == 0
    assert z_scored(x).mean(0) == pytest.approx([0, 0], abs=1e-7)


@pytest.mark.parametrize(("count", "width"), [(40, 6), (20, 50)])
def test_log_evidence_is_that_of_bayesian_ridge(count, width):
    from sklearn.linear_model import BayesianRidge

    x, labels = rows(count, width, apart=0.7)
    total = 0.0
    for label in range(3):
        model = BayesianRidge(
            fit_intercept=False,
            alpha_1=0,
            alpha_2=0,
            lambda_1=0,
            lambda_2=0,
            tol=1e-12,
            max_iter=20000,
            compute_score=True,
        )
        total += model.fit(x.astype(float), (labels == label).astype(float)).scores_[-1] / count
    assert log_evidence(x, labels) == pytest.approx(total / 3, abs=1e-4)


def test_log_evidence_does_not_grow_with_the_width_of_noise():
    generator = np.random.default_rng(0)
    labels = np.arange(48) % 3
    found = [log_evidence(generator.normal(size=(48, width)), labels) for width in (16, 100, 400, 1000)]
    assert max(found) - min(found) < 0.3


def test_h_score_by_its_formula():
    x, labels = rows(3000, 4)
    centred = x.astype(float) - x.mean(0)
    means = np.stack([centred[labels == c].mean(0) for c in range(3)])[labels]
    expected = np.trace(np.linalg.solve(np.cov(centred.T, bias=True), means.T @ means / len(x)))
    assert h_score(x, labels) == pytest.approx(expected, rel=0.02)


def test_coding_rate_by_its_formula():
    x, labels = rows(30, 4)
    z = x.astype(float)
    z -= z.mean(0)
    z /= np.sqrt((z**2).sum() / len(z))

    def rate(part):
        return 0.5 * np.linalg.slogdet(np.eye(4) + part.T @ part / (len(part) * 1e-4))[1]

    expected = rate(z) - sum((labels == c).mean() * rate(z[labels == c]) for c in range(3))
    assert trans_rate(x, labels) == pytest.approx(expected, rel=1e-9)


def test_overlap_of_two_gaussians_is_the_integral():
    """exp(-D_B) is the integral of the square root of both densities."""
    generator = np.random.default_rng(0)
    x = np.concatenate([generator.normal(0, 1, 20000), generator.normal(3, 2, 20000)])[:, None]
    labels = np.repeat([0, 1], 20000)
    grid = np.linspace(-20, 25, 20001)
    density = lambda m, s: np.exp(-((grid - m) ** 2) / (2 * s**2)) / (s * np.sqrt(2 * np.pi))  # noqa: E731
    integral = np.trapezoid(np.sqrt(density(0, 1) * density(3, 2)), grid)
    assert bhattacharyya(x, labels) == pytest.approx(-2 * integral, rel=0.02)


def test_leep_by_hand():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    labels = np.array([0, 0, 1, 1])
    given = {0: [1.0, 0.0], 1: [0.5 / 2.5, 2.0 / 2.5]}  # P(y | z), z = 0 and 1
    expected = np.mean(np.log([1.0, 0.5 * given[0][0] + 0.5 * given[1][0], given[1][1], given[1][1]]))
    assert leep(probabilities, labels) == pytest.approx(expected)
    padded = np.hstack([probabilities, np.zeros((4, 1))])  # a class without mass
    assert leep(padded, labels) == pytest.approx(expected)
    assert nce(np.array([0, 0, 1, 1]), labels) == pytest.approx(0)
    assert nce(np.array([0, 1, 0, 1]), labels) == pytest.approx(np.log(0.5))


def test_cluster_scores_need_five_rows_a_class():
    x, labels = rows(12)
    assert n_leep(x, labels) == -np.inf
    near, labels = rows(90, apart=0.2)
    far, _ = rows(90, apart=3.0)
    assert 1e-12 > n_leep(far, labels) > n_leep(near, labels)


def test_domains_that_are_alike_are_near():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 200, 5))
    assert proxy_a(a, b) < 0.5
    assert proxy_a(a, b + 5) > 1.9
    assert abs(mean_discrepancy(a, b)) < 0.02
    assert mean_discrepancy(a, b + 1) > 0.1
    assert np.isnan(proxy_a(a[:3], b))
