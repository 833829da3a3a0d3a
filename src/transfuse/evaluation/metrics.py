"""The metrics of a classifier, each as sums over examples and a function of those sums.

Every metric here depends on the data only through sums ``sum_i w_i s(i)`` of a statistic ``s(i) in R^K`` of one
example (was it right, which class, which confidence bin). So all bootstrap resamples are one matrix product,
``weights [B, N] @ statistics [N, K]``, and the figures of B resamples cost little more than that of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError, nearest
from transfuse.evaluation.checks import as_repeats

BINS = 15
"""Equal-width bins of confidence in the calibration error."""


def class_statistics(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """float64 [N, 3C]: one-hot of hits, of predictions and of labels; their sums hold all that counts can tell."""
    n, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    out = np.zeros((n, 3, classes))
    rows = np.arange(n)
    out[rows, 0, predicted] = predicted == labels
    out[rows, 1, predicted] = 1
    out[rows, 2, labels] = 1
    return out.reshape(n, 3 * classes)


def loss_statistics(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """float64 [N, 2]: the negative log-likelihood in nats (clipped at the float64 epsilon, as scikit-learn) and 1."""
    tiny = np.finfo(np.float64).eps
    likelihood = np.clip(probabilities[np.arange(len(labels)), labels], tiny, 1 - tiny)
    return np.stack([-np.log(likelihood), np.ones(len(labels))], axis=1)


def confidence_bin(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """int64 [N]: the bin of each confidence; bin k holds the confidences in (k/bins, (k+1)/bins], bin 0 also 0."""
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))


def bin_statistics(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """float64 [N, 3 * bins]: in the example's confidence bin 1, its confidence, and whether it is right."""
    n, confidence = len(labels), probabilities.max(axis=1)
    out = np.zeros((n, 3, bins))
    rows, where = np.arange(n), confidence_bin(confidence, bins)
    out[rows, 0, where] = 1
    out[rows, 1, where] = confidence
    out[rows, 2, where] = probabilities.argmax(axis=1) == labels
    return out.reshape(n, 3 * bins)


def _thirds(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    split = sums.reshape(*sums.shape[:-1], 3, -1)
    return split[..., 0, :], split[..., 1, :], split[..., 2, :]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and 0 where whole is 0: scikit-learn's ``zero_division=0``."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0))


def _macro(figures: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur as a label or as a prediction, as scikit-learn on the same rows."""
    present = (predicted + support) > 0
    return np.asarray((figures * present).sum(axis=-1) / present.sum(axis=-1))


def _accuracy(sums: np.ndarray) -> np.ndarray:
    hits, _, support = _thirds(sums)
    return np.asarray(hits.sum(axis=-1) / support.sum(axis=-1))


def _macro_precision(sums: np.ndarray) -> np.ndarray:
    hits, predicted, support = _thirds(sums)
    return _macro(_ratio(hits, predicted), predicted, support)


def _macro_recall(sums: np.ndarray) -> np.ndarray:
    hits, predicted, support = _thirds(sums)
    return _macro(_ratio(hits, support), predicted, support)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    hits, predicted, support = _thirds(sums)
    return _macro(_ratio(2 * hits, predicted + support), predicted, support)


def _mcc(sums: np.ndarray) -> np.ndarray:
    hits, predicted, support = _thirds(sums)
    total = support.sum(axis=-1)
    covariance = hits.sum(axis=-1) * total - (predicted * support).sum(axis=-1)
    spread = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (support**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def _log_loss(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def _ece(sums: np.ndarray) -> np.ndarray:
    count, confidence, hits = _thirds(sums)
    return np.asarray(np.abs(hits - confidence).sum(axis=-1) / count.sum(axis=-1))


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of ``labels int[N]`` and ``probabilities float[N, C]``, or of written answers, called like a function.

    Args:
        statistics: (labels, probabilities) -> float64 [N, K], what each example adds to the sums.
        combine: sums float64 [..., K] -> the figure float64 [...].

    Cost of a call: O(N K).
    """

    statistics: Callable[[np.ndarray, np.ndarray], np.ndarray]
    combine: Callable[[np.ndarray], np.ndarray]

    def __call__(self, labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> float:
        """The figure, with each example counted ``weights[i]`` times (once without weights).

        A class with weight 0 in labels and in predictions does not occur: the figure equals that of the rows
        repeated ``weights[i]`` times.

        Args:
            labels: int [N], positions of the classes, 0..C-1.
            probabilities: float [N, C], rows sum to 1; the prediction is the first of the largest.
            weights: float or int [N], >= 0, with a sum over 0; None for all ones.

        Raises:
            DataError: shapes, values or weights that cannot be used.
        """
        known, repeats = as_repeats(labels, probabilities)
        if len(repeats) != 1:
            raise DataError(f"Probabilities of {len(repeats)} repeats", remedy="Use metric_intervals for repeats.")
        return float(self.combine(as_weights(weights, len(known)) @ self.statistics(known, repeats[0])))


def as_weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    """Weights as float64 [n].

    Raises:
        DataError: another length, a negative or infinite weight, or a sum of 0.
    """
    if weights is None:
        return np.ones(n)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (n,):
        raise DataError(f"Weights of shape {array.shape} for {n} examples", expected="one weight each")
    if not np.isfinite(array).all() or array.min() < 0 or array.sum() <= 0:
        raise DataError("Weights that are negative, infinite or all 0", expected="weights of at least 0, some above")
    return array


def confusion(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Confusion matrix, float64 [C, C]: row = label, column = prediction, entry = weight of the examples.

    Raises:
        DataError: shapes, values or weights that cannot be used.
    """
    known, repeats = as_repeats(labels, probabilities)
    if len(repeats) != 1:
        raise DataError(f"Probabilities of {len(repeats)} repeats", expected="one repeat, [examples, classes]")
    classes = repeats.shape[2]
    cells = known * classes + repeats[0].argmax(axis=1)
    counts = np.bincount(cells, weights=as_weights(weights, len(known)), minlength=classes**2)
    return counts.reshape(classes, classes)


accuracy = Metric(class_statistics, _accuracy)
"""Share of right predictions."""
macro_precision = Metric(class_statistics, _macro_precision)
"""Mean over classes of hits / predictions; a class never predicted counts 0."""
macro_recall = Metric(class_statistics, _macro_recall)
"""Mean over classes of hits / labels; a class only predicted counts 0."""
macro_f1 = Metric(class_statistics, _macro_f1)
"""Mean over classes of 2 hits / (predictions + labels)."""
micro_precision = Metric(class_statistics, _accuracy)
"""All hits / all predictions: with one label and one prediction an example this is the accuracy."""
micro_recall = Metric(class_statistics, _accuracy)
"""All hits / all labels: with one label and one prediction an example this is the accuracy."""
micro_f1 = Metric(class_statistics, _accuracy)
"""F1 of all hits: with one label and one prediction an example this is the accuracy."""
mcc = Metric(class_statistics, _mcc)
"""Matthews correlation, R_K of Gorodkin (2004): -1..1; 0 where labels or predictions are all one class."""
log_loss = Metric(loss_statistics, _log_loss)
"""Mean negative log-likelihood of the labels, in nats."""
ece = Metric(bin_statistics, _ece)
"""Expected calibration error, sum_b n_b/N |accuracy_b - confidence_b| (Guo et al. 2017, eq. 3), 15 bins."""

METRICS: dict[str, tuple[Metric, bool]] = {
    "accuracy": (accuracy, True),
    "macro_f1": (macro_f1, True),
    "macro_precision": (macro_precision, True),
    "macro_recall": (macro_recall, True),
    "micro_f1": (micro_f1, True),
    "micro_precision": (micro_precision, True),
    "micro_recall": (micro_recall, True),
    "mcc": (mcc, True),
    "log_loss": (log_loss, False),
    "ece": (ece, False),
}
"""name -> (function, greater is better)."""


def metric_of(name: str) -> tuple[Metric, bool]:
    """The entry of :data:`METRICS`, or of `texts.TEXT_METRICS`.

    Raises:
        DataError: no such metric; the message lists those that exist.
    """
    from transfuse.evaluation.texts import TEXT_METRICS

    known = METRICS | TEXT_METRICS
    if name not in known:
        raise DataError(f"Metric '{name}'.{nearest(name, list(known))}", expected="one of " + ", ".join(known))
    return known[name]
