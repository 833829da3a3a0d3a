"""Are a model's probabilities what they say, and the one number that mends them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.checks import as_labels, as_repeats
from transfuse.evaluation.metrics import BINS, bin_statistics

FLOOR = -1e4
"""Stands for a log-probability of minus infinity."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """The examples whose confidence lies in (low, high]: their number, mean confidence and accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float

    def to_dict(self) -> dict[str, float]:
        """The entry of report.json."""
        return dataclasses.asdict(self)


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> list[Bin]:
    """The bins of the calibration error that hold examples, from low confidence to high.

    Args:
        labels: int [N]; probabilities: float [N, C], or [R, N, C], whose repeats are counted together.
        bins: number of equal-width bins over 0..1.

    Raises:
        DataError: shapes or values that cannot be used.
    """
    known, repeats = as_repeats(labels, probabilities)
    sums = sum(bin_statistics(known, repeat, bins).sum(axis=0) for repeat in repeats)
    counts, confidence, hits = np.asarray(sums).reshape(3, bins)
    return [
        Bin(k / bins, (k + 1) / bins, int(counts[k]), float(confidence[k] / counts[k]), float(hits[k] / counts[k]))
        for k in range(bins)
        if counts[k]
    ]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _as_scores(scores: ArrayLike) -> np.ndarray:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise DataError(f"Logits of shape {table.shape}", expected="[examples, classes]")
    if np.isnan(table).any() or np.isposinf(table).any():
        raise DataError("Logits that are not numbers", remedy="Look at the model's output.")
    return np.asarray(np.maximum(table - table.max(axis=1, keepdims=True), FLOOR))


def temperature(scores: ArrayLike, labels: ArrayLike, *, bounds: tuple[float, float] = (0.05, 20.0)) -> float:
    """Temperature that makes probabilities most likely for held-out labels; keeps every prediction.

    Formula: argmin_T NLL(T) = -1/N sum_i log softmax(z_i / T)[y_i]. NLL is convex in u = 1/T with derivative
    mean_i(E_{softmax(u z_i)}[z_i] - z_i[y_i]), which grows in u, so bisection of log T finds the minimum.

    Args:
        scores: float [N, C], logits z, or log-probabilities (which are logits too); minus infinity allowed.
        labels: int [N], labels that the model was not trained on.
        bounds: smallest and largest T. The smallest is returned where every prediction is right.

    Returns:
        T in ``bounds``: above 1 where the model is too sure, below 1 where it is not sure enough.

    Raises:
        DataError: shapes or values that cannot be used.

    Cost: 60 passes over [N, C].
    Reduces to: 1 for labels drawn from softmax(z), up to noise; scores that are all equal give 1.
    Reference: Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, section 4.2.
    """
    table = _as_scores(scores)
    known = as_labels(labels, table.shape[1])
    if len(known) != len(table):
        raise DataError(f"{len(known)} labels but logits of {len(table)} examples", expected="one each")
    chosen = table[np.arange(len(known)), known]
    if not table.any():
        return 1.0

    def slope(log_t: float) -> float:
        likely = np.exp(_log_softmax(table * np.exp(-log_t)))
        return float(((likely * table).sum(axis=1) - chosen).mean())

    low, high = np.log(bounds[0]), np.log(bounds[1])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def apply_temperature(scores: ArrayLike, value: float) -> np.ndarray:
    """Probabilities float64 [N, C] of logits or log-probabilities at a temperature: softmax(z / T).

    Raises:
        DataError: a temperature that is not positive, or logits that cannot be used.
    """
    if not (np.isfinite(value) and value > 0):
        raise DataError(f"Temperature {value}", expected="a number above 0")
    return np.asarray(np.exp(_log_softmax(_as_scores(scores) / value)))
