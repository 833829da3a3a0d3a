"""Rows chosen by labels, words and gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from transfuse.engine.logistic import fit_head
from transfuse.methods.closed import chosen
from transfuse.methods.instance.dsir import closeness, hashed, log_ratio, resample
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


def test_words_of_scripts_without_spaces_are_their_characters():
    """As those of `tfidf`: six characters and a mark, and the pairs of these; a clause is no word."""
    assert len(hashed(["今天很好，菜"])[0]) == 6 + 5
    assert len(hashed(["ラーメン"])[0]) == 4 + 3
    source = ["这家餐厅的菜很好吃", "股票市场今天大幅下跌", "服务员态度很差", "央行宣布下调利率"]
    target = ["今天的菜很好吃", "服务员态度非常好", "这家餐厅味道不错", "菜的味道很好"]
    near = closeness(source, target)
    assert min(near[[0, 2]]) > max(near[[1, 3]])


def test_log_ratio_by_hand():
    """A tenth of the mean of both is mixed in: target (1, 0), source (1/2, 1/2), mean (3/4, 1/4)."""
    found = log_ratio(["a", "b"], ["a"])
    p, q = {"a": 0.9 + 0.075, "b": 0.025}, {"a": 0.45 + 0.075, "b": 0.45 + 0.025}
    np.testing.assert_allclose(found, [np.log(p[x] / q[x]) for x in "ab"], rtol=1e-9)
    np.testing.assert_allclose(log_ratio(["a b", "c"], ["a b", "c"]), 0, atol=1e-12)
    assert log_ratio(["a", ""], ["", " "]).tolist() == [0, 0]


@pytest.mark.parametrize("rows", [8, 16])
def test_few_texts_tell_their_domain(rows):
    """Of twelve words five are a domain's own, by Zipf's law as the others; a quarter of the source is the target's."""
    found, share = [], 1 / np.arange(1, 201)
    for seed in range(5):
        generator = np.random.default_rng(seed)

        def text(domain, generator=generator):
            ranks = generator.choice(200, 12, p=share / share.sum())
            return " ".join(
                f"{domain if at < 5 else 'w'}{rank}" for at, rank in enumerate(generator.permutation(ranks))
            )

        target, own = [text("d0") for _ in range(rows)], [text("d0") for _ in range(100)]
        near = closeness([*own, *(text(f"d{1 + i % 9}") for i in range(300))], target)
        found.append((near[:100, None] > near[None, 100:]).mean())
    assert np.mean(found) > 0.8


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
