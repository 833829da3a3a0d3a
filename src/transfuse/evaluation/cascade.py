"""A cascade: the student answers where it is confident, the teacher elsewhere; quality, cost, and where the border is.

Every metric is a function of sums over examples, and an example adds to them what the student's answer adds or what the
teacher's adds. So the sums of all thresholds come one after another, each by the rows that change hands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError
from transfuse.evaluation.bootstrap import draws, percentiles, ratio_interval, without_spread
from transfuse.evaluation.checks import as_repeats
from transfuse.evaluation.interval import Interval
from transfuse.evaluation.metrics import metric_of

MOST = 200
"""Thresholds of a curve, at most; with more distinct confidences they are spread evenly over the rows."""
FOLDS = 5
"""Parts of the rows; the figures of each are of a threshold that the others chose."""
LEAST = 20
"""Rows below which no threshold is chosen."""
TINY = 1e-12
"""Rounding that a cost may lie above its limit."""

Kind = Literal["teacher", "quality", "cost", "share"]


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for.

    Args:
        kind: ``quality``: the cheapest threshold whose quality is shown to be at least ``value``; ``cost`` and
            ``share``: the best quality for at most ``value``, of an answer in the mean and of all texts; ``teacher``:
            the cheapest threshold that is not shown to be worse than the teacher alone.
        value: see there; without a meaning for ``teacher``.

    Raises:
        DataError: a share outside 0..1, or a cost below 0.
    """

    kind: Kind
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind == "share" and not 0 <= self.value <= 1:
            raise DataError(f"share {self.value:g}", expected="from 0, the student alone, to 1, the teacher alone")
        if self.kind == "cost" and self.value < 0:
            raise DataError(f"cost {self.value:g}", expected="0 or more, for one answer")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """N labelled rows that student and teacher have both answered.

    Args:
        metric: the name of what decides.
        student, teacher: what each one's answers add to the metric's sums, float64 [N, K].
        confidence: of the student in its own answer, float64 [N], finite.
        costs: float64 [N, 2], of the student's answer and of the teacher's.
    """

    metric: str
    student: np.ndarray
    teacher: np.ndarray
    confidence: np.ndarray
    costs: np.ndarray

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, rows: np.ndarray) -> Evidence:
        """Some of the rows."""
        parts = (self.student[rows], self.teacher[rows], self.confidence[rows], self.costs[rows])
        return Evidence(self.metric, *parts)

    @property
    def greater(self) -> bool:
        """Whether more of the metric is better."""
        return metric_of(self.metric)[1]

    def spent(self, asked: np.ndarray, alone: np.ndarray) -> np.ndarray:
        """What each row costs, float64 [N]: the student's answer, and the teacher's where it is asked.

        Args:
            asked: bool [N], where the teacher answers.
            alone: bool [N], where the teacher would answer whatever the student says, so that nobody asks the student.
        """
        return np.asarray(self.costs[:, 0] * ~alone + self.costs[:, 1] * asked)

    def mixed(self, asked: np.ndarray) -> np.ndarray:
        """What the cascade's answers add to the sums, float64 [N, K]."""
        return np.where(asked[:, None], self.teacher, self.student)


def evidence(
    expected: ArrayLike, student: ArrayLike, teacher: ArrayLike, confidence: ArrayLike, costs: ArrayLike, metric: str
) -> Evidence:
    """What a threshold is chosen by.

    Args:
        expected: labels int [N], 0..C-1; of written answers what was expected, object [N].
        student, teacher: probabilities float [N, C], or written answers, object [N].
        confidence: float [N], of the student.
        costs: float [N, 2] or [2], of an answer of the student and of the teacher.
        metric: a name of `METRICS` or `TEXT_METRICS`.

    Raises:
        DataError: too few rows, shapes that differ, or a confidence or a cost that is not finite.
    """
    known, own = as_repeats(expected, student)
    _, other = as_repeats(expected, teacher)
    sure = np.asarray(confidence, dtype=np.float64)
    if own.shape != other.shape or sure.shape != known.shape:
        raise DataError(
            f"answers of shapes {own.shape[1:]} and {other.shape[1:]}, confidences {sure.shape}",
            expected="one of each for each row",
        )
    if len(known) < LEAST:
        raise DataError(
            f"{len(known)} labelled rows",
            expected=f"at least {LEAST}, by which a threshold can be chosen",
            remedy="Label more rows; some hundred give a narrow interval.",
        )
    prices = np.broadcast_to(np.asarray(costs, dtype=np.float64), (len(known), 2))
    if not np.isfinite(sure).all() or not np.isfinite(prices).all() or prices.min() < 0:
        raise DataError("a confidence or a cost that is not finite, or a cost below 0", remedy="Look at the model.")
    statistics = metric_of(metric)[0].statistics
    return Evidence(metric, statistics(known, own[0]), statistics(known, other[0]), sure, prices)


@dataclasses.dataclass(frozen=True)
class Point:
    """What a threshold gives on the rows that it is looked at by.

    Args:
        threshold: the teacher is asked where the student's confidence is below; minus infinity is the student alone,
            infinity the teacher alone, which spares the student's answer.
        share: of the rows, that the teacher is asked about.
        cost: of an answer, in the mean.
        quality: with its interval.
        against: the difference from the teacher alone, positive where the cascade is better.
    """

    threshold: float
    share: float
    cost: float
    quality: Interval
    against: Interval

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it; an infinite threshold as ``"inf"`` or ``"-inf"``."""
        return {**dataclasses.asdict(self), "threshold": as_json(self.threshold)}


def as_json(threshold: float) -> float | str:
    """A threshold for JSON, which knows no infinity; ``float`` reads both forms."""
    return threshold if np.isfinite(threshold) else str(threshold)


def thresholds(confidence: np.ndarray, most: int = MOST) -> np.ndarray:
    """Where the border may be: below all rows, between any two that differ, above all; rising, at most ``most``."""
    values = np.sort(confidence)
    ends = np.flatnonzero(np.diff(values) > 0)
    low, high = values[ends], values[ends + 1]
    middle = low + (high - low) / 2
    every = np.concatenate([[-np.inf], np.where(middle > low, middle, high), [np.inf]])
    if len(every) <= most:
        return every
    asked = np.concatenate([[0], ends + 1, [len(values)]])
    wanted = np.searchsorted(asked, np.linspace(0, len(values), most))
    return np.asarray(every[np.unique(np.minimum(wanted, len(every) - 1))])


def curve(rows: Evidence, *, seed: int, rounds: int = 1000, confidence: float = 0.95, most: int = MOST) -> list[Point]:
    """Quality and cost of each threshold, from the student alone to the teacher alone.

    Formula: with S_i and T_i what row i adds to the sums by the student's answer and by the teacher's, and c_i the
    student's confidence, the figure at threshold t is θ(Σ_i w_i (S_i + 1[c_i < t] (T_i - S_i))); w counts how often row
    i is drawn, the same draws for all thresholds, so that differences between them are paired.

    Args:
        rows: what is known.
        seed, rounds, confidence: of the bootstrap over rows; see `metric_intervals`.
        most: thresholds at most.

    Cost: O(rounds N K) as one metric's interval, and the metric's function for each threshold: about a second for
        1,000 rows and 200 thresholds.
    Reduces to: the student's own interval at the first point, the teacher's at the last.
    """
    borders = thresholds(rows.confidence, most)
    moves = np.searchsorted(borders, rows.confidence, side="right")  # the first border above each row
    values = _along(rows, moves, len(borders), [np.ones((1, len(rows)))])[:, 0]
    drawn = _along(rows, moves, len(borders), draws(len(rows), seed=seed, rounds=rounds))
    sign = 1.0 if rows.greater else -1.0
    qualities = percentiles(values, drawn, confidence)
    against = percentiles(sign * (values - values[-1]), sign * (drawn - drawn[-1]), confidence)
    out = []
    for place, border in enumerate(borders):
        asked, alone = moves <= place, np.full(len(rows), border == np.inf)
        quality = without_spread(rows.metric, qualities[place], len(rows), confidence)
        cost = float(rows.spent(asked, alone).mean())
        out.append(Point(float(border), float(asked.mean()), cost, quality, against[place]))
    return out


def _along(rows: Evidence, moves: np.ndarray, count: int, weights: Any) -> np.ndarray:
    """The metric at each threshold on each resample, float64 [thresholds, rounds]."""
    combine, gain = metric_of(rows.metric)[0].combine, rows.teacher - rows.student
    order = np.argsort(moves, kind="stable")
    ends = np.searchsorted(moves[order], np.arange(count), side="right")
    blocks = []
    for block in weights:
        sums, found, done = block @ rows.student, [], 0
        for end in ends:
            if end > done:
                moved = order[done:end]
                sums, done = sums + block[:, moved] @ gain[moved], end
            found.append(combine(sums))
        blocks.append(np.stack(found))
    return np.concatenate(blocks, axis=1)


def choose(points: Sequence[Point], goal: Goal, *, greater: bool = True) -> Point:
    """The threshold for a goal; of equals the cheaper, then the better.

    Args:
        points: of `curve`.
        goal: see `Goal`.
        greater: whether more of the metric is better.

    Raises:
        DataError: no threshold reaches the goal; the message names what can be reached.
    """
    sign = 1.0 if greater else -1.0

    def shown(point: Point) -> float:
        """The bound of the quality that the rows show."""
        return point.quality.low if greater else point.quality.high

    if goal.kind in ("quality", "teacher"):
        good = [
            p
            for p in points
            if (p.against.high >= 0 if goal.kind == "teacher" else sign * (shown(p) - goal.value) >= 0)
        ]
        if good:
            return min(good, key=lambda p: (p.cost, -sign * p.quality.value))
        best = max(points, key=lambda p: (sign * shown(p), -p.cost))
        raise DataError(
            f"quality {goal.value:g} is not shown for any threshold",
            expected=f"at {'most' if greater else 'least'} {shown(best):.3f}: the {'lower' if greater else 'upper'} "
            f"bound where the teacher is asked of {best.share:.0%} (quality {best.quality.value:.3f})",
            remedy="Ask for that, label more rows, which narrows the interval, or take a better teacher.",
        )
    within = [p for p in points if (p.cost if goal.kind == "cost" else p.share) <= goal.value + TINY]
    if within:
        return max(within, key=lambda p: (sign * p.quality.value, -p.cost))
    least = min(points, key=lambda p: p.cost)
    raise DataError(
        f"cost {goal.value:g} an answer is less than any threshold costs",
        expected=f"at least {least.cost:.3g}, which is {'the student' if least.share == 0 else 'the teacher'} alone",
        remedy="Allow more, or take a smaller student.",
    )


@dataclasses.dataclass(frozen=True)
class Honest:
    """What a cascade gives on rows that did not choose its threshold.

    Args:
        quality, share, cost: of the cascade; cost of an answer in the mean.
        student, teacher: the quality of each alone.
        against_student, against_teacher: differences, positive where the cascade is better.
        thresholds: that the folds chose.
        missed: folds in which the goal was not reached, where what came nearest was taken.
        n: rows.
    """

    quality: Interval
    share: Interval
    cost: Interval
    student: Interval
    teacher: Interval
    against_student: Interval
    against_teacher: Interval
    thresholds: tuple[float, ...]
    missed: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**dataclasses.asdict(self), "thresholds": [as_json(t) for t in self.thresholds]}


def crossfit(
    rows: Evidence, goal: Goal, *, seed: int, rounds: int = 1000, confidence: float = 0.95, folds: int = FOLDS
) -> Honest:
    """Figures of a threshold on rows that did not choose it: chosen on all folds but one, measured on that one.

    A threshold that is chosen because it looks good looks better than it is on the rows that chose it.

    Args:
        rows, goal: as in `curve` and `choose`.
        seed: of the folds and the resamples.
        rounds, confidence: of all intervals.
        folds: parts of the rows.

    Cost: ``folds`` times `curve`.
    Departures: the interval is over rows, with the folds' thresholds as they are.
    """
    fold = np.random.default_rng(seed).permutation(len(rows)) % folds
    asked, alone = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    chosen, missed = [], 0
    for k in range(folds):
        points = curve(rows.take(fold != k), seed=seed, rounds=rounds, confidence=confidence)
        try:
            border = choose(points, goal, greater=rows.greater).threshold
        except DataError:
            border, missed = _nearest(points, goal, rows.greater).threshold, missed + 1
        chosen.append(border)
        asked[fold == k], alone[fold == k] = rows.confidence[fold == k] < border, border == np.inf
    sign = 1.0 if rows.greater else -1.0
    tables = np.stack([rows.mixed(asked), rows.student, rows.teacher])
    combine = metric_of(rows.metric)[0].combine
    values = combine(tables.sum(1))
    blocks = [np.stack([combine(block @ t) for t in tables]) for block in draws(len(rows), seed=seed, rounds=rounds)]
    drawn = np.concatenate(blocks, axis=1)
    found = [without_spread(rows.metric, i, len(rows), confidence) for i in percentiles(values, drawn, confidence)]
    against = percentiles(sign * (values[0] - values[1:]), sign * (drawn[0] - drawn[1:]), confidence)
    ones = np.ones(len(rows))
    share, cost = (
        ratio_interval(np.stack([part, ones], 1), seed=seed, rounds=rounds, confidence=confidence)
        for part in (asked.astype(np.float64), rows.spent(asked, alone))
    )
    by_student, by_teacher = against
    return Honest(found[0], share, cost, found[1], found[2], by_student, by_teacher, tuple(chosen), missed, len(rows))


def _nearest(points: Sequence[Point], goal: Goal, greater: bool) -> Point:
    """What comes nearest to a goal that no threshold reaches."""
    if goal.kind != "quality":
        return min(points, key=lambda p: p.cost)
    return max(points, key=lambda p: (p.quality.low if greater else -p.quality.high, -p.cost))
