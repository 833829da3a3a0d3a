"""Where a model errs: by label, by pair of labels, and most surely."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.bootstrap import positions
from transfuse.evaluation.checks import as_repeats
from transfuse.evaluation.compare import Verdict, mcnemar
from transfuse.evaluation.corrected import holm


@dataclasses.dataclass(frozen=True)
class LabelAccuracy:
    """Accuracy on the n examples of one label (its recall); ``label`` is the class position."""

    label: int
    n: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class LabelDifference:
    """How much better a is than b on the n examples of one label.

    Args:
        label: position of the class.
        n: examples.
        a, b: accuracy of each on them.
        p: McNemar's test, adjusted for the number of labels (Holm).
        verdict: of a against b.
    """

    label: int
    n: int
    a: float
    b: float
    p: float
    verdict: Verdict


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


def difference_by_label(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    level: float = 0.05,
    groups: Sequence[object] | np.ndarray | None = None,
) -> list[LabelDifference]:
    """On which classes model a is better than b, and on which worse; the largest gain first, then by position.

    Args:
        labels: int [N].
        a, b: float [N, C] of the same examples.
        level: of the verdicts, for all labels together.
        groups: [N] keys of examples that belong together. Each then counts once, for the model that has more of its
            examples right.

    Raises:
        DataError: shapes or values that cannot be used.

    Cost: O(N C).
    Reference: McNemar's test with Holm's adjustment, see `mcnemar` and `holm`.
    """
    known, first = _one(labels, a)
    _, second = _one(labels, b)
    right_a, right_b = first.argmax(axis=1) == known, second.argmax(axis=1) == known
    member = positions(len(known), groups)
    gained = right_a.astype(float) - right_b
    each = {int(k): np.bincount(member[known == k], gained[known == k]) for k in np.unique(known)}
    found = []
    for label, p in zip(each, holm([mcnemar(net > 0, net < 0) for net in each.values()]), strict=True):
        own = known == label
        mean_a, mean_b = float(right_a[own].mean()), float(right_b[own].mean())
        verdict: Verdict = "no evidence" if p > level else "helps" if mean_a > mean_b else "hurts"
        found.append(LabelDifference(label, int(own.sum()), mean_a, mean_b, p, verdict))
    return sorted(found, key=lambda item: (item.b - item.a, item.label))


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
