"""Where a model errs: by label, by pair of labels, and most surely."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.checks import as_repeats


@dataclasses.dataclass(frozen=True)
class LabelAccuracy:
    """Accuracy on the n examples of one label (its recall); ``label`` is the class position."""

    label: int
    n: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong prediction: the example's position, its label, what was predicted and with which probability."""

    index: int
    label: int
    predicted: int
    probability: float


def _one(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    known, repeats = as_repeats(labels, probabilities)
    if len(repeats) != 1:
        raise DataError(f"Probabilities of {len(repeats)} repeats", expected="one repeat, [examples, classes]")
    return known, repeats[0]


def accuracy_by_label(labels: ArrayLike, probabilities: ArrayLike) -> list[LabelAccuracy]:
    """Accuracy on the examples of each label that occurs, worst first, then by position.

    Raises:
        DataError: shapes or values that cannot be used.
    """
    known, table = _one(labels, probabilities)
    right = table.argmax(axis=1) == known
    found = [LabelAccuracy(int(k), int((known == k).sum()), float(right[known == k].mean())) for k in np.unique(known)]
    return sorted(found, key=lambda item: (item.accuracy, item.label))


def confident_mistakes(labels: ArrayLike, probabilities: ArrayLike, limit: int = 20) -> list[Mistake]:
    """The wrong predictions with the highest probability, at most ``limit``, most sure first, then by position.

    They are where to look for wrong labels in the data as well as for the model's blind spots.

    Raises:
        DataError: shapes or values that cannot be used.
    """
    known, table = _one(labels, probabilities)
    predicted, sure = table.argmax(axis=1), table.max(axis=1)
    wrong = np.flatnonzero(predicted != known)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:limit]
    return [Mistake(int(i), int(known[i]), int(predicted[i]), float(sure[i])) for i in order]


def most_confused(matrix: ArrayLike, limit: int = 12) -> list[tuple[int, int, float]]:
    """Pairs (label, prediction, count) of a confusion matrix [C, C] off its diagonal, most frequent first.

    Raises:
        DataError: a matrix that is not square.
    """
    counts = np.array(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise DataError(f"A confusion matrix of shape {counts.shape}", expected="as many columns as rows")
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return [(row, column, float(counts[row, column])) for row, column in pairs if counts[row, column] > 0]
