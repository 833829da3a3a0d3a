"""The paired comparison of two models on the same examples, and its verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.bootstrap import draws, percentile, resample
from transfuse.evaluation.checks import as_repeats
from transfuse.evaluation.corrected import corrected, error_over
from transfuse.evaluation.interval import Interval
from transfuse.evaluation.metrics import metric_of

Verdict = Literal["helps", "no evidence", "hurts"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How much better a is than b.

    Args:
        difference: of the metric, positive where a is better, also for metrics of which less is better.
        verdict: "helps" where the whole interval is above 0, "hurts" where it is below, else "no evidence".
        n: number of examples.
        mcnemar: mid-p value of McNemar's test on right and wrong, 0..1; None where there are several repeats or
            groups, for which it does not hold.
        detectable: what a difference must exceed for *helps* to be said of it, in the metric's unit: the half-width of
            the interval, or what the test of `p` needs where that is more.
        p: one-sided, that a is no better than b: of one split by the draw of the examples (half of McNemar's p where it
            holds, else the share of resamples in which a is no better), of several by the differences between them
            (see `corrected`); adjusted for other comparisons where there are some.
        paired_p: two-sided, of written answers: that the draw of the examples alone makes a difference as large as
            this one (see `paired_p`); None where answers are labels, or where there are groups: of few it may be
            wrong. The verdict does not rest on it.
        error: the standard error of the difference by which `p` is judged, in the metric's unit.
        freedom: its degrees of freedom; infinite of one split.
    """

    difference: Interval
    verdict: Verdict
    n: int
    mcnemar: float | None
    detectable: float
    p: float | None = None
    paired_p: float | None = None
    error: float = 0.0
    freedom: float = math.inf

    def over_splits(self, differences: Sequence[float], ratio: float, floor: float = 0.0) -> Comparison:
        """The same with the spread between splits allowed for: *helps* is said where both tests say so.

        Args:
            differences: of each split, in the metric's unit, positive where a is better.
            ratio: rows that a split leaves out, for each one that it trains on.
            floor: the least deviation of the differences that is believed, see `corrected`.
        """
        half = corrected(differences, ratio, floor) / 2
        error, freedom = error_over(differences, ratio, floor), float(len(differences) - 1)
        judged = self.beside(half if np.mean(differences) >= 0 else 1 - half)
        return dataclasses.replace(judged, error=error, freedom=freedom).among(1)

    def among(self, count: int, level: float = 0.05) -> Comparison:
        """The same, detectable where it is the strictest of ``count`` comparisons, as Holm's first is."""
        from scipy import stats

        needed = float(stats.t.isf(level / count, self.freedom)) * self.error
        return dataclasses.replace(self, detectable=max(self.detectable, needed))

    def beside(self, p: float, level: float = 0.05) -> Comparison:
        """The same with another p value: *helps* is said only where it allows it.

        *Hurts* stands as it is: it bars a candidate, and to bar one too many costs less than to let harm through.
        """
        doubtful = self.verdict == "helps" and p > level
        return dataclasses.replace(self, p=p, verdict="no evidence" if doubtful else self.verdict)

    def to_dict(self) -> dict[str, object]:
        """The entry of report.json."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("error", "freedom")}


def compare(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    metric: str = "accuracy",
    seed: int,
    rounds: int = 1000,
    confidence: float = 0.95,
    groups: Sequence[object] | np.ndarray | None = None,
) -> Comparison:
    """Paired bootstrap of model a against model b: what a transfer was worth, with its interval and verdict.

    Formula: delta*_r = theta_a(resample r) - theta_b(resample r), both on the same resample r; sign turned for
    metrics of which less is better. Interval: quantiles (1 -+ confidence)/2 of delta*. Detectable difference, for
    accuracy: z sqrt(d/n) with d the mean squared paired difference (one repeat: the share of examples on which
    exactly one model is right), at least 1/n; for other metrics and for groups z times the bootstrap's deviation.

    Args:
        labels: int [N], 0..C-1; of written answers what was expected, object [N].
        a, b: float [N, C] or [R, N, C], or written answers, object [N] or [R, N]: of the same examples, in the same
            repeats.
        metric: a name of :data:`METRICS` or of :data:`TEXT_METRICS`.
        seed: of the resamples.
        rounds: number of resamples.
        confidence: of the interval and the verdict.
        groups: [N] keys of examples that belong together.

    Raises:
        DataError: shapes that differ, values that cannot be used, or an unknown metric.

    Cost: twice :func:`metric_intervals` with one metric.
    Reduces to: a is b gives difference 0, "no evidence", McNemar 1.
    Reference: Efron and Tibshirani (1993), section 13.3; Fagerland, Lydersen and Laake (2013) for the mid-p value.
    Departures: the interval speaks of these trained models on other examples; it does not hold the spread between
    training sets, beyond what several repeats average out.

    Example:
        >>> sure, unsure = [[0.9, 0.1], [0.1, 0.9]] * 20, [[0.9, 0.1], [0.9, 0.1]] * 20
        >>> compare([0, 1] * 20, sure, unsure, seed=0).verdict
        'helps'
    """
    known, first = as_repeats(labels, a)
    _, second = as_repeats(labels, b)
    if first.shape != second.shape:
        raise DataError(f"Predictions of shapes {first.shape} and {second.shape}", expected="equal shapes")
    function, greater = metric_of(metric)
    sign = 1.0 if greater else -1.0
    n = len(known)

    def measure(table: np.ndarray, weights: Sequence[np.ndarray] | None = None) -> np.ndarray:
        source = draws(n, seed=seed, rounds=rounds, groups=groups) if weights is None else weights
        return np.asarray(resample(known, table, [function], source)[0])

    whole = [np.ones((1, n))]
    value = sign * float(measure(first, whole)[0] - measure(second, whole)[0])
    resampled = sign * (measure(first) - measure(second))
    interval = percentile(value, resampled, confidence)
    error, p = float(resampled.std()), _no_better(resampled)
    found = Comparison(interval, verdict_of(interval), n, None, z_of(confidence) * error, p, error=error)
    if groups is not None:
        return found
    if first.dtype == np.dtype(object):  # written answers are not right or wrong
        return dataclasses.replace(found, paired_p=paired_p(value, resampled))
    right_a, right_b = first.argmax(axis=2) == known, second.argmax(axis=2) == known
    exact = mcnemar(right_a[0], right_b[0]) if len(first) == 1 else None
    if metric == "accuracy":
        error = _paired_error(right_a, right_b)
        p = p if exact is None else exact / 2 if value >= 0 else 1 - exact / 2
    return dataclasses.replace(found, mcnemar=exact, detectable=z_of(confidence) * error, p=p, error=error)


def _no_better(resampled: np.ndarray) -> float:
    """The share of resampled differences [B] in which a is no better than b, one more counted, so that none is 0."""
    return float((np.sum(resampled <= 0) + 1) / (len(resampled) + 1))


def paired_p(difference: float, resampled: np.ndarray) -> float:
    """The p value of the paired bootstrap: how often resampling moves a difference as far as it is from 0.

    Formula: with a_b = |delta*_b| over B resamples, p = (#(a_b - mean(a) >= |delta|) + 1) / (B + 1).

    Args:
        difference: delta, on the examples themselves.
        resampled: float64 [B], delta* on the resamples.

    Reference: Koehn 2004; sacrebleu's ``--paired-bs``, after Moses.
    Departures: sacrebleu counts > for >=, by which two systems that answer alike are significantly different.

    Example:
        >>> paired_p(0.0, np.zeros(99))
        1.0
    """
    away = np.abs(resampled)
    return float((np.sum(away - away.mean() >= abs(difference)) + 1) / (len(away) + 1))


def _paired_error(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """sqrt(d/n) with d the mean squared paired difference, at least 1/n; bool [R, N] each."""
    paired = (right_a.astype(float) - right_b).mean(axis=0)
    return max(float(np.sqrt((paired**2).mean() / len(paired))), 1 / len(paired))


def verdict_of(difference: Interval) -> Verdict:
    """Say "helps" where the whole interval is above 0, "hurts" where it is below, else "no evidence"."""
    if difference.low > 0:
        return "helps"
    return "hurts" if difference.high < 0 else "no evidence"


def z_of(confidence: float) -> float:
    """Two-sided normal quantile: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Mid-p value of McNemar's test: are two models right on equally many of the examples on which they differ?

    Formula: with x examples only a has right, y only b, m = x + y, k = min(x, y), f the binomial(m, 1/2) mass:
    p = 2 sum_{i<k} f(i) + f(k); for x = y it is 1 - f(x)/2; for m = 0 it is 1. Computed in whole numbers, exactly.

    Args:
        right_a, right_b: bool [N].

    Raises:
        DataError: lengths that differ.

    Cost: O(N + k) operations on integers of m bits.
    Reference: Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13:91.
    """
    first, second = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if first.shape != second.shape:
        raise DataError(f"Outcomes of {first.shape} and {second.shape} examples", expected="the same examples")
    only_a, only_b = int((first & ~second).sum()), int((~first & second).sum())
    m, k = only_a + only_b, min(only_a, only_b)
    if m == 0:
        return 1.0
    ways, below = 1, 0
    for i in range(k):
        below += ways
        ways = ways * (m - i) // (i + 1)
    if only_a == only_b:
        return 1 - float(Fraction(ways, 2 ** (m + 1)))
    return float(Fraction(2 * below + ways, 2**m))
