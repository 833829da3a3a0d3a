"""Rows chosen by labels, words and gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from transfuse.engine.logistic import fit_head
from transfuse.methods.closed import chosen
from transfuse.methods.instance.dsir import hashed, log_ratio, resample
from transfuse.methods.instance.gradient import factored_cosine, head_gradients, influence
from transfuse.methods.instance.tradaboost import tradaboost


def two_classes(count, seed, flipped=0):
    """Rows of two classes in four dimensions; the first ``flipped`` have the wrong label."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    x = generator.normal(size=(count, 4)) + 2 * labels[:, None]
    wrong = labels.copy()
    wrong[:flipped] = 1 - wrong[:flipped]
    return x.astype(np.float32), wrong, np.ones(count)


def test_boosting_forgets_rows_that_contradict_the_target():
    source, target = two_classes(80, 0, flipped=40), two_classes(20, 1)
    head, weights = tradaboost(source, target, 2)
    assert weights.mean() == pytest.approx(1)
    assert weights[:40].mean() < 0.7 * weights[40:].mean()
    x, labels, _ = two_classes(400, 2)
    right = (head.logits(x).argmax(1) == labels).mean()
    together = fit_head(*(np.concatenate([a, b]) for a, b in zip(source[:2], target[:2], strict=True)), 2, c=0.01)
    assert right >= (together.logits(x).argmax(1) == labels).mean()
    assert right > 0.9


def test_one_round_is_one_head_and_a_source_may_be_empty():
    target = two_classes(20, 1)
    empty = (np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0))
    head, weights = tradaboost(empty, target, 2, rounds=1)
    assert len(weights) == 0
    plain = fit_head(target[0], target[1], 2, c=0.01)
    np.testing.assert_allclose(head.logits(target[0]), plain.logits(target[0]), atol=1e-5)


def test_n_grams_are_words_and_pairs_of_words():
    (row,) = hashed(["Good, good day"])
    assert len(row) == 4 + 3
    assert (hashed(["good"])[0] == hashed(["GOOD"])[0]).all()
    assert hashed([""])[0].shape == (0,)


def test_log_ratio_by_hand():
    """One bucket a gram: two grams each, counts plus one over the totals plus the buckets."""
    buckets = 10_000
    found = log_ratio(["a", "b"], ["a"], buckets=buckets)
    p = {"a": 2 / (1 + buckets), "b": 1 / (1 + buckets)}
    q = {"a": 2 / (2 + buckets), "b": 2 / (2 + buckets)}
    np.testing.assert_allclose(found, [np.log(p[x] / q[x]) for x in "ab"], rtol=1e-9)
    np.testing.assert_allclose(log_ratio(["a b", "c"], ["a b", "c"]), 0, atol=1e-12)


def test_resampling_prefers_what_is_likelier():
    log_weights = np.log(np.array([0.7, 0.2, 0.1]))
    first = [resample(log_weights, 1, seed)[0] for seed in range(500)]
    assert np.bincount(first, minlength=3) / 500 == pytest.approx([0.7, 0.2, 0.1], abs=0.06)
    assert sorted(resample(log_weights, 3, 0)) == [0, 1, 2]


def test_cosines_are_those_of_the_gradients():
    generator = np.random.default_rng(0)
    weight = torch.tensor(generator.normal(size=(3, 4)), requires_grad=True)
    x, y = generator.normal(size=(5, 4)), generator.integers(0, 3, 5)
    gradients = []
    for row, label in zip(x, y, strict=True):
        loss = functional.cross_entropy(weight @ torch.tensor(row), torch.tensor(label))
        gradients.append(torch.autograd.grad(loss, weight)[0].flatten())
    stacked = functional.normalize(torch.stack(gradients), dim=1)
    probabilities = torch.softmax(torch.tensor(x) @ weight.T, 1).detach().numpy()
    pair = head_gradients(x, probabilities, y)
    np.testing.assert_allclose(factored_cosine(pair, pair), (stacked @ stacked.T).numpy(), atol=1e-9)


def test_influence_is_the_best_groups_mean():
    cosines = np.array([[1.0, 0.0, -1.0], [0.2, 0.4, 0.9]])
    np.testing.assert_allclose(influence(cosines, np.array([0, 0, 1])), [0.5, 0.9])


def test_chosen_rows_count_alike():
    np.testing.assert_allclose(chosen(np.array([3.0, 1.0, 2.0, 0.0]), 0.5), [2, 0, 2, 0])
    np.testing.assert_allclose(chosen(np.array([1.0, 2.0]), 0.01), [0, 2])
