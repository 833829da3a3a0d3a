"""The head against scikit-learn, the choice of a layer against refitting without each row."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from transfuse.engine import logistic
from transfuse.engine.logistic import choose_c, correct_head, fit_head, ridge_loo, standardise
from transfuse.fitted.head import Head
from transfuse.fitted.paths import log_softmax

CLOSE = 0.02
"""Of probabilities: ours stops at a gradient of 1e-3, the peer is told to go on to 1e-9."""


def blobs(rows: int, width: int, classes: int, *, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre a class, with columns of very different size and place."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = generator.normal(size=(classes, width))
    features = centres[labels] + spread * generator.normal(size=(rows, width))
    return (features * np.geomspace(0.1, 50, width) + 7).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_fit_head_equals_scikit_learn(classes, weighted, c):
    x, y = blobs(60, 8, classes, spread=1.5)
    weights = np.random.default_rng(1).uniform(0.1, 5, len(y)) if weighted else None
    head = fit_head(x, y, classes, c=c, weights=weights)
    mean_one = None if weights is None else weights / weights.mean()
    scaler = StandardScaler().fit(x, sample_weight=mean_one)
    peer = LogisticRegression(C=c, tol=1e-9, max_iter=5000).fit(scaler.transform(x), y, sample_weight=mean_one)
    ours = np.exp(log_softmax(head.logits(x)))
    assert np.abs(ours - peer.predict_proba(scaler.transform(x))).max() < CLOSE
    if weighted and c == 1.0:
        assert np.abs(ours - np.exp(log_softmax(fit_head(x, y, classes, c=c).logits(x)))).max() > CLOSE


def test_fit_head_knows_weights_by_their_proportions_alone():
    x, y = blobs(40, 6, 3)
    weights = np.random.default_rng(0).uniform(0.5, 2, 40)
    one, thousand = (fit_head(x, y, 3, c=0.1, weights=k * weights) for k in (1.0, 1000.0))
    np.testing.assert_allclose(one.weight, thousand.weight, atol=1e-5)


def test_fit_head_a_weight_of_two_is_the_row_twice():
    x, y = blobs(30, 5, 2)
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    twice = np.concatenate([np.arange(30), np.arange(10)])
    a = fit_head(x, y, 2, c=1.0, weights=weights)
    b = fit_head(x[twice], y[twice], 2, c=30 / 40, weights=None)  # mean weight 1 makes the penalty one of N rows
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-5)
    assert np.abs(np.exp(log_softmax(a.logits(x))) - np.exp(log_softmax(b.logits(x)))).max() < CLOSE


def test_fit_head_rules_out_classes_without_a_row():
    x, y = blobs(40, 6, 2)
    for present in ([1, 3], [0, 2, 4]):
        labels = np.array(present)[np.arange(40) % len(present)]
        probabilities = np.exp(log_softmax(fit_head(x, labels, 5, c=1.0).logits(x)))
        absent = [c for c in range(5) if c not in present]
        assert probabilities.shape == (40, 5)
        assert probabilities[:, absent].max() < 1e-6
    two = fit_head(x, np.array([1, 3])[y], 5, c=1.0)
    plain = fit_head(x, y, 2, c=1.0)
    np.testing.assert_allclose(
        np.exp(log_softmax(two.logits(x)))[:, [1, 3]], np.exp(log_softmax(plain.logits(x))), atol=1e-6
    )


def test_fit_head_with_one_class_answers_it():
    x, _ = blobs(5, 4, 2)
    probabilities = np.exp(log_softmax(fit_head(x, np.full(5, 2), 3, c=1.0).logits(x)))
    assert probabilities[:, 2].min() > 1 - 1e-9


def test_fit_head_scalar_scale_keeps_the_proportions_of_columns():
    x, y = blobs(60, 8, 3)
    head = fit_head(x, y, 3, c=0.1, scalar_scale=True)
    assert len(set(head.scale.tolist())) == 1
    assert head.scale[0] == pytest.approx(np.sqrt(x.astype(float).var(0).mean()), rel=1e-4)
    z = (x - x.mean(0)) / np.sqrt(x.astype(float).var(0).mean())
    peer = LogisticRegression(C=0.1, tol=1e-9, max_iter=5000).fit(z, y)
    assert np.abs(np.exp(log_softmax(head.logits(x))) - peer.predict_proba(z)).max() < CLOSE


def ones(rows: int) -> np.ndarray:
    return np.ones(rows)


@pytest.mark.parametrize("classes", [2, 4])
def test_correcting_an_empty_head_is_fitting_one(classes):
    """Against scikit-learn with as many rows of weights as classes: for two, its single row has half the penalty."""
    x, y = blobs(60, 6, classes, spread=2.0)
    mean, scale = standardise(x, ones(60))
    empty = Head(mean, scale, np.zeros((classes, 6), dtype=np.float32), np.zeros(classes, dtype=np.float32))
    ours = np.exp(log_softmax(correct_head(empty, x, y, c=0.05, weights=ones(60)).logits(x)))
    peer = LogisticRegression(C=0.1 if classes == 2 else 0.05, tol=1e-9, max_iter=5000)
    assert np.abs(ours - peer.fit((x - mean) / scale, y).predict_proba((x - mean) / scale)).max() < 1e-3


def test_a_strong_pull_leaves_the_head_and_moves_its_intercepts():
    x, y = blobs(60, 6, 3)
    before = fit_head(x, y, 3, c=1.0)
    shifted = correct_head(before, x, np.where(y == 0, 1, y), c=1e-9, weights=ones(60))
    np.testing.assert_allclose(shifted.weight, before.weight, atol=1e-5)
    share = np.exp(log_softmax(shifted.logits(x))).mean(0)
    assert share[2] == pytest.approx(1 / 3, abs=0.01), "intercepts are free: mean probability is the share of a class"


def test_a_corrected_head_keeps_what_the_rows_do_not_speak_of():
    x, y = blobs(60, 6, 3)
    before = fit_head(x, y, 3, c=1.0)
    seen = y != 2
    after = correct_head(before, x[seen], y[seen], c=1.0, weights=ones(int(seen.sum())))
    np.testing.assert_array_equal(after.weight[2], before.weight[2])
    assert after.bias[2] == before.bias[2]
    np.testing.assert_array_equal(after.scale, before.scale)


def test_a_correction_adapts_where_a_head_of_few_rows_cannot():
    """Source and target share their direction but for one shifted column; eight target rows find the shift."""
    generator = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = (generator.normal(size=(400, 50)) + 1.2 * np.where(y == 1, 1, -1)[:, None] * (np.arange(50) < 5)).astype("f4")
    source = fit_head(x, y, 2, c=0.01)
    target = x + 3 * (np.arange(50) == 0)
    few, rest = np.arange(8), np.arange(8, 400)
    corrected = correct_head(source, target[few], y[few], c=0.01, weights=ones(8))
    alone = fit_head(target[few], y[few], 2, c=0.01)

    def accuracy(head: Head) -> float:
        return float((head.logits(target[rest]).argmax(1) == y[rest]).mean())

    assert accuracy(corrected) > accuracy(source)
    assert accuracy(corrected) > accuracy(alone)


def test_corrections_know_weights_by_their_proportions_alone():
    x, y = blobs(40, 6, 3)
    before, weights = fit_head(x, y, 3, c=0.1), np.random.default_rng(0).uniform(0.5, 2, 40)
    one, thousand = (correct_head(before, x, y[::-1], c=0.1, weights=k * weights) for k in (1.0, 1000.0))
    np.testing.assert_allclose(one.weight, thousand.weight, atol=1e-4)


def test_standardise_survives_a_constant_column():
    x, _ = blobs(20, 3, 2)
    x[:, 1] = 4.25
    _, scale = standardise(x, np.ones(20))
    assert scale[1] == 1.0
    assert scale[0] == pytest.approx(x[:, 0].std(), rel=1e-4)


def refitted(x: np.ndarray, y: np.ndarray, classes: int, weights: np.ndarray, judged: np.ndarray) -> float:
    """`ridge_loo` by solving the weighted ridge regression again without each judged row."""
    mean, scale = standardise(x, weights)
    z, w, targets = (x - mean).astype(float) / scale, weights / weights.sum(), np.eye(classes)[y]
    power = (w[:, None] * z**2).sum()
    errors = []
    for penalty in logistic.PENALTIES * power / len(x):
        each = []
        for i in np.flatnonzero(judged):
            kept = np.arange(len(x)) != i
            design = np.column_stack([np.ones(kept.sum()), z[kept]])
            ridge = penalty * np.eye(design.shape[1])
            ridge[0, 0] = 0.0  # the intercept goes unpenalised
            gram = design.T @ (w[kept, None] * design) + ridge
            solution = np.linalg.solve(gram, design.T @ (w[kept, None] * targets[kept]))
            each.append(((targets[i] - np.r_[1.0, z[i]] @ solution) ** 2).sum())
        errors.append(np.mean(each))
    return float(min(errors))


@pytest.mark.parametrize(("rows", "width"), [(30, 5), (12, 12), (12, 40)])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_loo_equals_refitting_without_each_row(rows, width, classes, weighted):
    x, y = blobs(rows, width, classes, spread=2.0)
    generator = np.random.default_rng(2)
    weights = generator.uniform(0.2, 4.0, rows) if weighted else np.ones(rows)
    judged = generator.random(rows) < 0.6 if weighted else np.ones(rows, dtype=bool)
    found = ridge_loo(x, y, classes, weights, judged)
    assert found == pytest.approx(refitted(x, y, classes, weights, judged), rel=1e-5)


def test_ridge_loo_is_the_same_from_either_gram_matrix():
    x, y = blobs(20, 8, 2, spread=3.0)
    wide = np.concatenate([x, np.zeros((20, 40), dtype=x.dtype)], axis=1)  # N < D by columns that say nothing
    every = np.ones(20, dtype=bool)
    assert ridge_loo(wide, y, 2, np.ones(20), every) == pytest.approx(ridge_loo(x, y, 2, np.ones(20), every), rel=1e-5)


def test_ridge_loo_tells_signal_from_noise_even_where_columns_outnumber_rows():
    x, y = blobs(24, 100, 2)
    noise = np.random.default_rng(9).normal(size=(24, 100)).astype(np.float32)
    every = np.ones(24, dtype=bool)
    signal, chance = (ridge_loo(f, y, 2, np.ones(24), every) for f in (x, noise))
    assert signal < 0.1
    assert chance > 0.4


@pytest.mark.parametrize("rows", [6, 40])
def test_ridge_loo_of_features_that_say_nothing_is_chance_and_no_nan(rows):
    y = np.arange(rows) % 2
    found = ridge_loo(np.full((rows, 10), 3.5, dtype=np.float32), y, 2, np.ones(rows), np.ones(rows, dtype=bool))
    assert found == pytest.approx(0.5 * (rows / (rows - 1)) ** 2, rel=1e-6)


def test_choose_c_takes_a_strong_penalty_for_noise_and_a_weak_one_for_signal():
    fold = np.arange(40) // 2 % 4
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    x, y = blobs(40, 20, 2, spread=0.3)
    noise = np.random.default_rng(0).normal(size=(40, 20))
    grid = (0.001, 0.1, 10.0)
    assert choose_c(x, y, 2, folds, grid, weights=np.ones(40)) == 10.0
    assert choose_c(noise, y, 2, folds, grid, weights=np.ones(40)) == 0.001


def test_choose_c_minimises_the_log_loss_of_the_held_out_parts():
    x, y = blobs(30, 10, 3, spread=2.5)
    weights = np.random.default_rng(0).uniform(0.5, 2, 30)
    folds = [(np.arange(10, 30), np.arange(0, 10)), (np.r_[0:10, 20:30], np.arange(10, 20))]  # the last ten only train
    grid = (0.003, 0.03, 0.3, 3.0)
    losses = []
    for c in grid:
        heads = [(fit_head(x[a], y[a], 3, c=c, weights=weights[a]), b) for a, b in folds]
        losses.append(sum(-log_softmax(h.logits(x[b]))[np.arange(len(b)), y[b]].sum() for h, b in heads))
    assert choose_c(x, y, 3, folds, grid, weights=weights) == grid[int(np.argmin(losses))]


def test_choose_c_without_a_training_row_takes_the_strongest_penalty():
    x, y = blobs(2, 3, 2)
    assert choose_c(x, y, 2, [(np.arange(0), np.arange(2))], (0.01, 1.0), weights=np.ones(2)) == 0.01


def test_choose_c_takes_the_first_of_equals():
    x, _ = blobs(8, 3, 2)
    folds = [(np.arange(4), np.arange(4, 8))]
    assert choose_c(x, np.zeros(8, dtype=int), 2, folds, (0.5, 5.0), weights=np.ones(8)) == 0.5
