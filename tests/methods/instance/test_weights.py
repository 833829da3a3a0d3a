"""Density ratios: against the truth on Gaussians, other solvers, refits, and the case without a shift."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr

from transfuse.methods.instance.kernels import gaussian, median_distance, squared_distances
from transfuse.methods.instance.kliep import kliep, mixture
from transfuse.methods.instance.kmm import kernel_mean_matching, project
from transfuse.methods.instance.nearest import nearest_target, round_robin, similarity
from transfuse.methods.instance.ratio import domain_ratio, effective_size, mean_one
from transfuse.methods.instance.ulsif import coefficients, leave_one_out, ulsif

ESTIMATORS = {
    "domain_ratio": domain_ratio,
    "kmm": kernel_mean_matching,
    "kliep": kliep,
    "ulsif": ulsif,
    "nearest": lambda s, t: nearest_target(s, t, neighbours=25),
}
RATIOS = ("domain_ratio", "kliep", "ulsif", "nearest")
"""Those that estimate the ratio; matching means does not need it."""


def gaussians(count=300, shift=1.0, seed=0):
    """Source rows, target rows, and the true ratio at the source's."""
    generator = np.random.default_rng(seed)
    source, target = generator.normal(size=(count, 2)), generator.normal(size=(count, 2)) + shift
    return source, target, np.exp(shift * source.sum(1) - shift**2)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_weighted_source_lies_where_the_target_does(name):
    source, target, _ = gaussians()
    weights = ESTIMATORS[name](source, target)
    assert weights.shape == (300,)
    assert weights.min() >= 0
    assert weights.mean() == pytest.approx(1)
    assert effective_size(weights) < 250
    apart = np.linalg.norm(source.mean(0) - target.mean(0))
    assert np.linalg.norm(weights @ source / 300 - target.mean(0)) < 0.5 * apart


@pytest.mark.parametrize("name", RATIOS)
def test_ratios_follow_the_truth(name):
    source, target, truth = gaussians()
    assert spearmanr(ESTIMATORS[name](source, target), truth)[0] > 0.85


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_a_shift_rows_count_about_alike(name):
    source, _, _ = gaussians()
    weights = ESTIMATORS[name](source, source.copy())
    assert effective_size(weights) > 270
    assert np.quantile(weights, 0.9) < 1.5


@pytest.mark.parametrize("name", ["domain_ratio", "kliep", "ulsif"])
def test_a_seed_decides_everything(name):
    source, target, _ = gaussians(120)
    np.testing.assert_array_equal(ESTIMATORS[name](source, target), ESTIMATORS[name](source, target))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rows", [1, 2, 6])
def test_few_target_rows_are_no_error(name, rows):
    source, target, _ = gaussians(50)
    weights = ESTIMATORS[name](source, target[:rows])
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1)


def test_effective_size_and_mean_by_hand():
    assert effective_size(np.array([1.0, 1.0, 1.0])) == pytest.approx(3)
    assert effective_size(np.array([3.0, 0.0, 0.0])) == pytest.approx(1)
    np.testing.assert_allclose(mean_one(np.array([1.0, 3.0])), [0.5, 1.5])
    np.testing.assert_allclose(mean_one(np.zeros(2)), [1, 1])


def test_kernels_by_hand():
    a, b = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]])
    np.testing.assert_allclose(squared_distances(a, b), [[0], [25]])
    np.testing.assert_allclose(gaussian(a, b, 5.0), [[1], [np.exp(-0.5)]])
    assert median_distance(a) == pytest.approx(5)
    assert median_distance(np.zeros((3, 2))) == 1


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_rows_have_width_1_whatever_rounding_leaves(kind):
    row = np.random.default_rng(0).normal(size=384).astype(kind)
    assert median_distance(np.tile(row, (40, 1))) == 1
    assert median_distance(np.tile(row, (40, 1)) * np.float32(1e-3)) == 1
    apart = np.tile(row, (40, 1)) + 1e-3 * np.random.default_rng(1).normal(size=(40, 384))
    assert median_distance(apart) == pytest.approx(1e-3 * np.sqrt(2 * 384), rel=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_rows_say_nothing(name):
    row = np.random.default_rng(0).normal(size=16).astype(np.float32)
    weights = ESTIMATORS[name](np.tile(row, (40, 1)), np.tile(row, (30, 1)))
    assert np.isfinite(weights).all()
    if name != "nearest":  # which of equal rows are nearest is nobody's choice
        np.testing.assert_allclose(weights, 1.0, atol=1e-6)


def test_the_width_is_that_of_source_and_target_in_their_shares():
    """A source of 3,000 rows in one place before a target of 3,000 in another: half the pairs are far apart."""
    generator = np.random.default_rng(0)
    x = 0.01 * generator.normal(size=(6000, 2))
    x[3000:, 0] += 10.0
    assert median_distance(x) > 5
    assert median_distance(x[:3000]) < 0.1
    for rows in (1, 999, 1000, 1001):
        assert median_distance(x[:rows]) > 0


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("side", [0, 1])
def test_features_that_are_no_numbers_are_refused(name, side):
    pair = [np.random.default_rng(0).normal(size=(40, 8)) for _ in range(2)]
    pair[side][7, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ESTIMATORS[name](*pair)


def test_a_feature_that_is_no_number_is_named():
    source, target, _ = gaussians(20)
    source[7, 1] = np.inf
    with pytest.raises(ValueError, match="20 rows: row 7 has NaN or infinity; expected finite numbers"):
        squared_distances(source, target)


def test_kernel_mean_matching_against_another_solver():
    source, target, _ = gaussians(14)
    kernel, towards = gaussian(source, source, 1.0), gaussian(source, target, 1.0).sum(1)
    objective = lambda w: 0.5 * w @ kernel @ w - towards @ w  # noqa: E731
    found = minimize(
        objective,
        np.ones(14),
        jac=lambda w: kernel @ w - towards,
        bounds=[(0, 3)] * 14,
        constraints=[
            {"type": "ineq", "fun": lambda w: 14 * 1.1 - w.sum()},
            {"type": "ineq", "fun": lambda w: w.sum() - 14 * 0.9},
        ],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    ).x
    mine = kernel_mean_matching(source, target, width=1.0, most=3.0, slack=0.1)
    np.testing.assert_allclose(mine, found / found.mean(), atol=2e-3)


@pytest.mark.parametrize(("low", "high"), [(0, 10), (3, 3), (5, 6), (0.5, 1)])
def test_projection_is_the_nearest_allowed_point(low, high):
    point = np.array([-1.0, 0.4, 0.9, 2.5])
    found = project(point, 2.0, low, high)
    other = minimize(
        lambda w: ((w - point) ** 2).sum(),
        np.ones(4),
        bounds=[(0, 2)] * 4,
        constraints=[
            {"type": "ineq", "fun": lambda w: high - w.sum()},
            {"type": "ineq", "fun": lambda w: w.sum() - low},
        ],
    ).x
    np.testing.assert_allclose(found, other, atol=1e-3)


def test_kliep_reaches_the_optimum_of_its_objective():
    source, target, _ = gaussians(40)
    near, mean = gaussian(target, target[:8], 1.0), gaussian(source, target[:8], 1.0).mean(0)
    alpha = mixture(near, mean)
    assert alpha.min() >= 0
    assert mean @ alpha == pytest.approx(1)
    found = minimize(
        lambda a: -np.log(np.maximum(near @ a, 1e-12)).sum(),
        np.full(8, 1 / mean.sum()),
        bounds=[(0, None)] * 8,
        constraints=[{"type": "eq", "fun": lambda a: mean @ a - 1}],
        method="SLSQP",
    )
    assert np.log(near @ alpha).sum() >= -found.fun - 1e-4


def test_a_constant_kernel_says_nothing():
    source, target, _ = gaussians(60)
    for estimate in (kliep, ulsif):
        np.testing.assert_allclose(estimate(source, target, widths=[1e6]), 1.0, atol=1e-6)


def test_the_leave_one_out_error_is_that_of_refits():
    source, target, _ = gaussians(9)
    centres = target[:4]
    far, near = gaussian(source, centres, 1.0), gaussian(target, centres, 1.0)[:7]
    errors = []
    for i in range(7):
        alpha = coefficients(np.delete(far, i, 0), np.delete(near, i, 0), 0.1)
        errors.append((far[i] @ alpha) ** 2 / 2 - near[i] @ alpha)
    assert leave_one_out(far, near, 0.1) == pytest.approx(np.mean(errors), rel=1e-9)


def test_ulsif_is_that_of_densratio():
    densratio = pytest.importorskip("densratio")
    source, target, _ = gaussians(60)
    theirs = densratio.densratio(
        target, source, alpha=0, sigma_range=[0.7, 1.4], lambda_range=[0.01, 0.1], kernel_num=60, verbose=False
    )
    expected = theirs.compute_density_ratio(source)
    mine = ulsif(source, target, widths=[0.7, 1.4], penalties=[0.01, 0.1])
    np.testing.assert_allclose(mine, expected / expected.mean(), rtol=1e-5, atol=1e-6)


def test_nearest_by_hand():
    source = np.array([[0.0], [1.0], [10.0]])
    np.testing.assert_allclose(nearest_target(source, np.array([[0.1], [0.2], [0.9]]), neighbours=1), [2, 1, 0])
    np.testing.assert_allclose(nearest_target(source, source, neighbours=1), 1)


def test_rows_take_turns():
    source = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    target = np.array([[1.0, 0.0], [1.0, 0.01]])
    assert round_robin(source, target, 3).tolist() == [0, 1, 2]
    assert round_robin(source, target, 9).tolist() == [0, 1, 2, 3]
    assert similarity(source, target).argmax() == 0
    assert similarity(source, target).argmin() == 3
