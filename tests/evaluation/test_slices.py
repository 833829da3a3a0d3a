"""Ranking of scores and the slices of mistakes."""

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from transfuse.errors import DataError
from transfuse.evaluation import (
    accuracy_by_label,
    auroc,
    confident_mistakes,
    confusion,
    difference_by_label,
    holm,
    mcnemar,
    most_confused,
)


def test_auroc_equals_scikit_learn_with_ties():
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(3, 12, size=300), generator.integers(0, 10, size=170)
    expected = roc_auc_score(np.r_[np.ones(300), np.zeros(170)], np.r_[inside, outside])
    assert auroc(inside, outside) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_extremes():
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([0, 1], [2, 3]) == 0
    assert auroc([1, 1], [1, 1, 1]) == 0.5


def test_auroc_refuses_an_empty_side_and_no_numbers():
    with pytest.raises(DataError, match="2 scores that belong and 0 that do not"):
        auroc([1, 2], [])
    with pytest.raises(DataError, match="not numbers"):
        auroc([1, float("nan")], [0])


def test_accuracy_by_label_is_recall_worst_first(predictions):
    labels, probabilities = predictions
    found = accuracy_by_label(labels, probabilities)
    assert [item.accuracy for item in found] == sorted(item.accuracy for item in found)
    expected = recall_score(labels, probabilities.argmax(axis=1), labels=[0, 1, 2], average=None)
    assert {item.label: item.accuracy for item in found} == pytest.approx(dict(enumerate(expected)))
    assert sum(item.n for item in found) == 200


def test_confident_mistakes_come_sure_first_and_are_wrong():
    labels = [0, 0, 1, 1]
    probabilities = [[0.4, 0.6], [0.9, 0.1], [0.95, 0.05], [0.6, 0.4]]
    found = confident_mistakes(labels, probabilities, limit=2)
    assert [(m.index, m.label, m.predicted, m.probability) for m in found] == [(2, 1, 0, 0.95), (0, 0, 1, 0.6)]
    assert len(confident_mistakes(labels, probabilities)) == 3
    assert confident_mistakes([1], [[0.1, 0.9]]) == []


def test_most_confused_leaves_the_diagonal_and_empty_pairs_out(predictions):
    assert most_confused([[5, 2, 0], [7, 9, 0], [0, 1, 3]]) == [(1, 0, 7), (0, 1, 2), (2, 1, 1)]
    assert most_confused([[5, 2, 0], [7, 9, 0], [0, 1, 3]], limit=1) == [(1, 0, 7)]
    matrix = confusion(*predictions)
    before = matrix.copy()
    most_confused(matrix)
    assert (matrix == before).all()
    with pytest.raises(DataError, match="as many columns"):
        most_confused([[1, 2]])


def test_slices_refuse_repeats(predictions):
    labels, probabilities = predictions
    with pytest.raises(DataError, match="2 repeats"):
        accuracy_by_label(labels, np.stack([probabilities, probabilities]))


def test_difference_by_label_judges_each_class_and_all_together():
    labels = np.repeat([0, 1, 2], [40, 40, 10])
    right, wrong = np.array([0.9, 0.05, 0.05]), np.array([0.1, 0.1, 0.8])
    a = np.stack([np.roll(right, label) for label in labels])
    b = a.copy()
    b[:20] = wrong  # half of class 0 is lost
    b[40:43] = np.roll(wrong, 1)  # three of class 1
    found = difference_by_label(labels, a, b)
    assert [(d.label, d.n, d.verdict) for d in found] == [
        (0, 40, "helps"),
        (1, 40, "no evidence"),
        (2, 10, "no evidence"),
    ]
    assert [d.a - d.b for d in found] == pytest.approx([0.5, 3 / 40, 0])
    each = [mcnemar(np.ones(40), np.arange(40) >= 20), mcnemar(np.ones(40), np.arange(40) >= 3), 1.0]
    assert [d.p for d in found] == pytest.approx(holm(each))
    assert difference_by_label(labels, b, a)[-1].verdict == "hurts"
    assert {d.verdict for d in difference_by_label(labels, a, a)} == {"no evidence"}


def test_a_group_counts_once_among_the_differences_of_its_label():
    labels = np.repeat([0, 1], 20)
    right, wrong = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    a = np.stack([np.roll(right, label) for label in labels])
    b = a.copy()
    b[:10] = wrong
    alone = difference_by_label(labels, a, b)
    assert alone[0].verdict == "helps"
    together = difference_by_label(labels, a, b, groups=np.arange(40) // 5)
    assert (together[0].a - together[0].b, together[0].verdict) == (0.5, "no evidence")
    assert together[0].p == holm([mcnemar([True] * 2, [False] * 2), 1.0])[0]
    assert difference_by_label(labels, a, b, groups=range(40)) == alone
