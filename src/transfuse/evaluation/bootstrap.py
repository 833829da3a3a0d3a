"""Bootstrap over examples: what a figure would be on other examples of the same kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.checks import as_repeats
from transfuse.evaluation.interval import Interval
from transfuse.evaluation.metrics import METRICS, Metric, metric_of

BLOCK = 4_000_000
"""Weights held in memory at once (rounds x examples); the draws do not depend on it."""


def draws(
    n: int, *, seed: int, rounds: int, groups: Sequence[object] | np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield blocks float64 [b, n], b summing to ``rounds``: how often each example is drawn in a resample.

    Examples are drawn with replacement, n a round. With ``groups`` [n] whole groups are drawn instead, as many as
    there are, so that examples of one group stay together (cluster bootstrap).

    Raises:
        DataError: groups of another length, or fewer than one round.
    """
    if rounds < 1:
        raise DataError(f"{rounds} bootstrap rounds", expected="at least 1")
    member = positions(n, groups)
    units = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // max(n, units))
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        drawn = generator.integers(0, units, size=(size, units)) + units * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        yield counts[:, member].astype(np.float64, order="C")


def positions(n: int, groups: Sequence[object] | np.ndarray | None) -> np.ndarray:
    """int64 [n]: the group of each example, counted from 0 in the order of first sight; without groups its own.

    Raises:
        DataError: groups of another length.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise DataError(f"{len(groups)} groups for {n} examples", expected="one group key each")
    known: dict[object, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in groups], dtype=np.int64)


def resample(
    labels: np.ndarray, repeats: np.ndarray, metrics: Sequence[Metric], weights: Iterable[np.ndarray]
) -> np.ndarray:
    """Each metric on each resample, mean over the repeats: float64 [metrics, rounds].

    Args:
        labels: int64 [N]; repeats: float64 [R, N, C], both checked.
        metrics: metrics that share their statistics share one matrix product.
        weights: blocks [b, N] of :func:`draws`; ones [1, N] give the figures themselves.

    Cost: O(rounds N K R) multiplications in matrix products; K is 3C for counts, 45 for the calibration error.
    """
    kinds = list(dict.fromkeys(metric.statistics for metric in metrics))
    tables = {kind: [kind(labels, repeat) for repeat in repeats] for kind in kinds}
    blocks = []
    for block in weights:
        sums = {kind: [block @ table for table in tables[kind]] for kind in kinds}
        blocks.append([np.mean([metric.combine(s) for s in sums[metric.statistics]], axis=0) for metric in metrics])
    return np.concatenate([np.stack(block) for block in blocks], axis=1)


def percentile(value: float, resampled: np.ndarray, confidence: float) -> Interval:
    """Percentile interval of resampled figures [rounds], widened where needed to hold the figure itself.

    The widening matters for biased figures only: a resample's calibration error is larger than the sample's.

    Raises:
        DataError: a confidence outside 0..1.
    """
    return percentiles(np.array([value]), resampled[None], confidence)[0]


def percentiles(values: np.ndarray, resampled: np.ndarray, confidence: float) -> list[Interval]:
    """The same of M figures [M] and their resamples [M, rounds]."""
    if not 0 < confidence < 1:
        raise DataError(f"Confidence {confidence}", expected="a share between 0 and 1, such as 0.95")
    ends = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    bounds = zip(values, np.minimum(ends[0], values), np.maximum(ends[1], values), strict=True)
    return [Interval(float(value), float(low), float(high)) for value, low, high in bounds]


def metric_intervals(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    seed: int,
    rounds: int = 1000,
    confidence: float = 0.95,
    names: Sequence[str] | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
) -> dict[str, Interval]:
    """Metrics with percentile bootstrap intervals over examples: for one model's figures on one set of examples.

    Formula: theta*_b = theta(resample b); interval = quantiles (1 -+ confidence)/2 of theta*_1..B. Resamples give no
    spread where every prediction is right (or wrong), so accuracy then gets the exact binomial bound
    ((1 - confidence)/2)^(1/n) instead (Clopper and Pearson 1934).

    Args:
        labels: int [N], 0..C-1; of written answers what was expected, object [N].
        probabilities: float [N, C], or [R, N, C] for R repeats of cross-validation: the figure is the mean over the
            repeats, and an example is drawn for all repeats at once, because the repeats share the examples. Written
            answers are object [N] or [R, N].
        seed: of the resamples; the same seed draws the same examples for every model.
        rounds: B, the number of resamples.
        confidence: share of intervals that should hold the truth.
        names: metrics of :data:`METRICS` or :data:`TEXT_METRICS`; None for all of the first.
        groups: [N] keys of examples that belong together (a reviewer, a document): whole groups are drawn.

    Returns:
        name -> Interval, in the order of ``names``.

    Raises:
        DataError: shapes or values that cannot be used, or an unknown metric.

    Cost: N = 10,000, C = 150, 1,000 rounds: about 2 s on one core, 150 MB.
    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.

    Example:
        >>> labels, probabilities = [0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]
        >>> metric_intervals(labels, probabilities, seed=0, names=["accuracy"])["accuracy"].value
        0.75
    """
    known, repeats = as_repeats(labels, probabilities)
    chosen = list(METRICS) if names is None else list(names)
    metrics = [metric_of(name)[0] for name in chosen]
    values = resample(known, repeats, metrics, [np.ones((1, len(known)))])[:, 0]
    resampled = resample(known, repeats, metrics, draws(len(known), seed=seed, rounds=rounds, groups=groups))
    units = len(known) if groups is None else len(set(groups))
    out = {}
    for name, value, figures in zip(chosen, values, resampled, strict=True):
        out[name] = without_spread(name, percentile(value, figures, confidence), units, confidence)
    return out


def ratio_interval(
    sums: np.ndarray,
    *,
    seed: int,
    rounds: int = 1000,
    confidence: float = 0.95,
    groups: Sequence[object] | np.ndarray | None = None,
) -> Interval:
    """The sum of one column over that of another, with its percentile interval over examples.

    Args:
        sums: float64 [N, 2], what each example adds above and below.
        seed: of the resamples; the same seed draws the same examples as `metric_intervals` does.
        rounds, confidence, groups: as there.
    """

    def figure(drawn: np.ndarray) -> np.ndarray:
        above, below = (drawn @ sums).T
        return np.asarray(above / np.maximum(below, 1e-30))

    value = figure(np.ones((1, len(sums))))[0]
    resampled = [figure(block) for block in draws(len(sums), seed=seed, rounds=rounds, groups=groups)]
    return percentile(value, np.concatenate(resampled), confidence)


SHARES = ("accuracy", "micro_f1", "micro_precision", "micro_recall", "exact_match", "pass_1")
"""The metrics that are a share of the examples, for which an exact bound is known at 0 and 1."""


def without_spread(name: str, interval: Interval, units: int, confidence: float) -> Interval:
    """The exact binomial interval where a metric is a share of ``units`` and 0 or 1, else the interval as it is."""
    if name not in SHARES:
        return interval
    bound = ((1 - confidence) / 2) ** (1 / units)
    if interval.value == 1:
        return Interval(1.0, bound, 1.0)
    if interval.value == 0:
        return Interval(0.0, 0.0, 1 - bound)
    return interval
