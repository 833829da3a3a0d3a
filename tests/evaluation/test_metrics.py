"""Every metric against scikit-learn, also weighted, and the inputs that are refused."""

import numpy as np
import pytest
from sklearn import metrics as reference

from transfuse.errors import DataError
from transfuse.evaluation import METRICS, confusion, ece
from transfuse.evaluation.metrics import metric_of


def scikit_learn(name, labels, probabilities, weights=None):
    predicted = probabilities.argmax(axis=1)
    if name == "accuracy":
        return reference.accuracy_score(labels, predicted, sample_weight=weights)
    if name == "mcc":
        return reference.matthews_corrcoef(labels, predicted, sample_weight=weights)
    if name == "log_loss":
        classes = range(probabilities.shape[1])
        return reference.log_loss(labels, probabilities, labels=list(classes), sample_weight=weights)
    average, kind = name.split("_")
    function = getattr(reference, f"{kind}_score")
    return function(labels, predicted, average=average, zero_division=0, sample_weight=weights)


NAMES = [name for name in METRICS if name != "ece"]


@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn(name, predictions):
    labels, probabilities = predictions
    assert set(probabilities.argmax(axis=1)) == {0, 1, 2, 3}, "a class must be predicted that no label has"
    assert METRICS[name][0](labels, probabilities) == pytest.approx(
        scikit_learn(name, labels, probabilities), abs=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_real_weights_equal_scikit_learn(name, predictions):
    labels, probabilities = predictions
    weights = np.random.default_rng(1).uniform(0.1, 3, size=len(labels))
    expected = scikit_learn(name, labels, probabilities, weights)
    assert METRICS[name][0](labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", list(METRICS))
def test_whole_weights_equal_repeated_rows_even_where_a_class_disappears(name, predictions):
    labels, probabilities = predictions
    weights = np.random.default_rng(2).integers(0, 4, size=len(labels))
    weights[labels == 2] = 0
    rows = np.repeat(np.arange(len(labels)), weights)
    function = METRICS[name][0]
    repeated = function(labels[rows], probabilities[rows])
    assert function(labels, probabilities, weights) == pytest.approx(repeated, abs=1e-12)
    if name != "ece":
        assert repeated == pytest.approx(scikit_learn(name, labels[rows], probabilities[rows]), abs=1e-12)


def test_confusion_equals_scikit_learn(predictions):
    labels, probabilities = predictions
    expected = reference.confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(5))
    assert (confusion(labels, probabilities) == expected).all()


def test_calibration_error_by_hand():
    # Bin (0.8, 0.867]: two examples at 0.85, one right; bin (0.6, 0.667]: one at 0.65, right.
    probabilities = [[0.85, 0.15], [0.85, 0.15], [0.65, 0.35]]
    expected = (2 * abs(0.5 - 0.85) + 1 * abs(1 - 0.65)) / 3
    assert ece([0, 1, 0], probabilities) == pytest.approx(expected)


def test_calibration_error_of_one_sure_and_right_model_is_zero():
    assert ece([0, 1], [[1.0, 0.0], [0.0, 1.0]]) == 0


def test_one_class_only_has_no_correlation():
    assert METRICS["mcc"][0]([0, 0], [[0.9, 0.1], [0.8, 0.2]]) == 0


def test_direction_is_declared_for_every_metric(predictions):
    labels, _ = predictions
    right = np.eye(5)[labels] * 0.9 + 0.02
    wrong = np.eye(5)[(labels + 1) % 3] * 0.9 + 0.02
    for name, (function, greater) in METRICS.items():
        assert (function(labels, right) > function(labels, wrong)) is greater, name


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "Labels of shape"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "Label 2 but probabilities of 2 classes"),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "Label -1"),
        ([0.5, 1.0], [[0.5, 0.5], [0.5, 0.5]], "whole numbers"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "1 labels but probabilities of 2 examples"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]], "Example 1"),
        ([0, 1], [[3.0, -1.0], [0.5, 0.5]], "softmax"),
        ([0, 1], [0.5, 0.5], r"\[examples, classes\]"),
        ([0, 1], [[[0.5, 0.5], [0.5, 0.5]]] * 2, "metric_intervals"),
    ],
)
def test_refuses_what_cannot_be_measured(labels, probabilities, message):
    with pytest.raises(DataError, match=message):
        METRICS["accuracy"][0](labels, probabilities)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0], [float("inf"), 1.0]])
def test_refuses_weights(weights):
    with pytest.raises(DataError, match="Weights"):
        METRICS["accuracy"][0]([0, 1], [[0.5, 0.5], [0.5, 0.5]], weights)


def test_unknown_metric_suggests_the_nearest():
    with pytest.raises(DataError, match=r"Did you mean 'macro_f1'\?[\s\S]*accuracy, macro_f1"):
        metric_of("macrof1")
