"""Cascades whose figures are known: perfect, random and tied confidence; goals, refusals, honest figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from transfuse import evaluation
from transfuse.errors import DataError
from transfuse.evaluation import (
    Goal,
    as_answers,
    as_expected,
    cascade_curve,
    choose,
    crossfit,
    evidence,
    metric_intervals,
    metric_of,
)
from transfuse.evaluation.cascade import thresholds

N = 400
ASKING = np.array([1.0, 9.0])
"""What an answer of the student costs, and one of the teacher."""


def sides(own=0.7, other=0.95, n=N, seed=0):
    """Labels, and the probabilities of a student and a teacher that are right so often."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    out = []
    for share in (own, other):
        right = generator.permutation(n) < share * n
        said = np.where(right, labels, 1 - labels)
        out.append(np.eye(2)[said] * 0.8 + 0.1)
    return labels, *out


def of(confidence, metric="accuracy", costs=ASKING, **more):
    labels, student, teacher = sides(**more)
    return evidence(labels, student, teacher, confidence, costs, metric)


def right(side, labels):
    return (side.argmax(1) == labels).astype(float)


def perfect(**more):
    """A student that knows which of its answers are wrong; how it orders them beyond that says nothing."""
    labels, student, _ = sides(**more)
    return right(student, labels) + np.random.default_rng(1).random(len(labels)) / 2


def test_the_ends_of_the_curve_are_each_alone():
    labels, student, teacher = sides()
    points = cascade_curve(of(perfect()), seed=3)
    for point, side, cost, share in ((points[0], student, 1.0, 0.0), (points[-1], teacher, 9.0, 1.0)):
        assert point.quality == metric_intervals(labels, side, seed=3, names=["accuracy"])["accuracy"]
        assert (point.cost, point.share) == (cost, share)
    assert (points[0].threshold, points[-1].threshold) == (-np.inf, np.inf)
    assert points[-1].against == evaluation.Interval(0, 0, 0)
    assert points[-2].cost > points[-1].cost - 9, "the last spares the student's answers"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "ece"])
def test_every_point_is_the_metric_of_the_mixed_answers(metric):
    labels, student, teacher = sides()
    sure = np.random.default_rng(2).random(N).round(2)
    points = cascade_curve(evidence(labels, student, teacher, sure, ASKING, metric), seed=0, rounds=10)
    for point in points[:: len(points) // 7]:
        mixed = np.where((sure < point.threshold)[:, None], teacher, student)
        assert point.quality.value == pytest.approx(metric_of(metric)[0](labels, mixed), abs=1e-12)
        assert point.share == np.mean(sure < point.threshold)


def test_the_resamples_are_those_of_the_paired_comparison():
    labels, student, teacher = sides()
    sure = perfect()
    point = cascade_curve(evidence(labels, student, teacher, sure, ASKING, "macro_f1"), seed=5)[60]
    mixed = np.where((sure < point.threshold)[:, None], teacher, student)
    want = evaluation.compare(labels, mixed, teacher, metric="macro_f1", seed=5).difference
    assert dataclasses.astuple(point.against) == pytest.approx(dataclasses.astuple(want), abs=1e-12)


def test_a_perfect_confidence_asks_of_nothing_but_mistakes():
    labels, student, teacher = sides(other=1.0)
    wrong = 1 - right(student, labels).mean()
    points = cascade_curve(evidence(labels, student, teacher, perfect(other=1.0), ASKING, "accuracy"), seed=0)
    for point in points:
        assert point.quality.value == pytest.approx(min(1.0, 1 - wrong + point.share))
    some_other = cascade_curve(
        evidence(labels, student, teacher, np.random.default_rng(9).random(N), ASKING, "accuracy"), seed=0
    )
    assert all(a.quality.value >= b.quality.value for a, b in zip(points, some_other, strict=True))


def test_a_random_confidence_gives_a_straight_line():
    labels, student, teacher = sides(n=20_000)
    sure = np.random.default_rng(4).random(20_000)
    points = cascade_curve(evidence(labels, student, teacher, sure, ASKING, "accuracy"), seed=0, rounds=2, most=50)
    for point in points:
        assert point.quality.value == pytest.approx(0.7 + 0.25 * point.share, abs=0.01)


def test_rows_of_one_confidence_go_together():
    tied = cascade_curve(of(np.repeat([0.5, 0.9], N // 2)), seed=0)
    assert [p.share for p in tied] == [0.0, 0.5, 1.0]
    assert tied[1].threshold == 0.7
    assert [p.share for p in cascade_curve(of(np.full(N, 0.5)), seed=0)] == [0.0, 1.0]


def test_a_border_between_neighbouring_floats_parts_them():
    low, high = 1.0, np.nextafter(1.0, 2)
    (border,) = thresholds(np.array([low, high]))[1:-1]
    assert low < border <= high


def test_many_thresholds_are_thinned_evenly_and_keep_their_ends():
    sure = np.random.default_rng(0).random(5000)
    found = thresholds(sure, 100)
    shares = [(sure < t).mean() for t in found]
    assert len(found) == 100
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert max(np.diff(shares)) < 0.011


def test_less_may_be_better():
    rows = of(perfect(), metric="log_loss")
    points = cascade_curve(rows, seed=0)
    assert points[0].against.value < 0, "the student loses more than the teacher"
    value = points[-1].quality.high
    assert choose(points, Goal("quality", value), greater=False).quality.high <= value
    with pytest.raises(DataError, match=r"quality 0\.001 is not shown[\s\S]*at least 0\.\d+: the upper bound"):
        choose(points, Goal("quality", 0.001), greater=False)


def test_a_quality_is_reached_by_its_lower_bound_and_as_cheaply_as_can_be():
    points = cascade_curve(of(perfect()), seed=0)
    chosen = choose(points, Goal("quality", 0.85))
    assert chosen.quality.low >= 0.85
    assert all(p.quality.low < 0.85 for p in points if p.cost < chosen.cost)


def test_the_best_for_a_cost_or_a_share():
    points = cascade_curve(of(perfect()), seed=0)
    for goal in (Goal("cost", 2.8), Goal("share", 0.2)):
        chosen = choose(points, goal)
        within = [p for p in points if (p.cost if goal.kind == "cost" else p.share) <= goal.value]
        assert chosen in within
        assert chosen.quality.value == max(p.quality.value for p in within)
    assert choose(points, Goal("share", 0)).threshold == -np.inf


def test_without_a_goal_it_is_the_cheapest_that_is_not_shown_to_be_worse_than_the_teacher():
    points = cascade_curve(of(perfect()), seed=0)
    chosen = choose(points, Goal("teacher"))
    assert 0.1 < chosen.share < 0.3
    assert chosen.against.high >= 0
    assert all(p.against.high < 0 for p in points if p.cost < chosen.cost)


def test_a_student_that_is_as_good_answers_alone():
    labels, student, _ = sides()
    points = cascade_curve(
        evidence(labels, student, student, np.random.default_rng(0).random(N), ASKING, "accuracy"), seed=0
    )
    assert choose(points, Goal("teacher")).threshold == -np.inf


def test_a_teacher_that_is_cheaper_than_asking_both_answers_alone():
    rows = of(np.random.default_rng(0).random(N), costs=np.array([8.0, 9.0]))
    points = cascade_curve(rows, seed=0)
    assert choose(points, Goal("quality", 0.91)).threshold == np.inf


def test_what_cannot_be_reached_is_refused_with_what_can():
    points = cascade_curve(of(perfect()), seed=0)
    with pytest.raises(DataError) as refused:
        choose(points, Goal("quality", 0.999))
    best = max(p.quality.low for p in points)
    assert str(refused.value).startswith("quality 0.999 is not shown for any threshold\nExpected: at most ")
    assert f"{best:.3f}: the lower bound where the teacher is asked of" in str(refused.value)
    assert "label more rows" in str(refused.value)
    with pytest.raises(DataError, match=r"cost 0\.5 an answer[\s\S]*at least 1, which is the student alone"):
        choose(points, Goal("cost", 0.5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Goal("share", 1.2), r"share 1\.2\nExpected: from 0, the student alone, to 1"),
        (lambda: Goal("cost", -1), r"cost -1\nExpected: 0 or more, for one answer"),
        (lambda: of(np.full(N, np.nan)), "a confidence or a cost that is not finite"),
        (lambda: of(np.zeros(N), costs=np.array([-1.0, 1])), "a cost below 0"),
        (lambda: of(np.zeros(3)), r"confidences \(3,\)[\s\S]*one of each for each row"),
        (lambda: of(np.zeros(9), n=9), r"9 labelled rows\nExpected: at least 20[\s\S]*Label more rows"),
    ],
)
def test_what_cannot_be_used_is_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_honest_figures_come_from_rows_that_did_not_choose():
    """With a confidence that says nothing, the best of many thresholds looks better than it is."""
    apart = []
    for seed in range(12):
        sure = np.random.default_rng(seed).random(100)
        rows = of(sure, own=0.8, other=0.8, n=100, seed=seed)
        goal = Goal("share", 0.9)
        seen = choose(cascade_curve(rows, seed=0, rounds=20), goal).quality.value
        honest = crossfit(rows, goal, seed=seed, rounds=20)
        apart.append(seen - honest.quality.value)
        assert honest.quality.low <= honest.quality.value <= honest.quality.high
    assert np.mean(apart) > 0.01
    assert min(apart) > -0.05


def test_honest_figures_of_both_alone_are_their_own():
    labels, student, teacher = sides()
    rows = of(perfect())
    honest = crossfit(rows, Goal("quality", 0.85), seed=0)
    for found, side in ((honest.student, student), (honest.teacher, teacher)):
        assert found == metric_intervals(labels, side, seed=0, names=["accuracy"])["accuracy"]
    assert honest.quality.low > 0.8
    assert honest.against_student.low > 0
    assert honest.against_teacher.value == pytest.approx(honest.quality.value - honest.teacher.value)
    assert honest.cost.value == pytest.approx(1 + 9 * honest.share.value)
    assert (honest.missed, honest.n, len(honest.thresholds)) == (0, N, 5)


def test_folds_that_miss_the_goal_are_counted():
    rows = of(perfect(n=60), n=60)
    points = cascade_curve(rows, seed=0)
    goal = Goal("quality", max(p.quality.low for p in points))
    assert crossfit(rows, goal, seed=0).missed > 0


def test_nobody_asks_the_student_where_the_teacher_answers_all():
    rows = of(np.full(N, 0.5), own=0.2)
    honest = crossfit(rows, Goal("quality", 0.9), seed=0)
    assert honest.cost.value == 9
    assert honest.share.value == 1


def test_a_share_without_spread_has_the_exact_bound():
    labels, student, _ = sides(own=1.0)
    points = cascade_curve(evidence(labels, student, student, np.zeros(N), ASKING, "accuracy"), seed=0)
    assert points[0].quality.low == 0.025 ** (1 / N)


def test_written_answers_have_a_curve_too():
    requests = [f"request {i}" for i in range(40)]
    wanted = [f"the answer number {i}" for i in range(40)]
    student = [w if i % 2 else "something else" for i, w in enumerate(wanted)]
    rows = evidence(
        as_expected(requests, wanted), as_answers(student), as_answers(wanted), np.arange(40) % 2, ASKING, "chrf"
    )
    points = cascade_curve(rows, seed=0)
    assert [round(p.quality.value) for p in points[1:]] == [100, 100]
    assert points[0].quality.value < 80
    assert choose(points, Goal("quality", 99)).share == 0.5


def test_json_knows_no_infinity():
    import json

    points = cascade_curve(of(np.repeat([0.5, 0.9], N // 2)), seed=0)
    kept = json.loads(json.dumps([p.to_dict() for p in points], allow_nan=False))
    assert [float(p["threshold"]) for p in kept] == [-np.inf, 0.7, np.inf]
    json.dumps(crossfit(of(np.full(N, 0.5)), Goal("teacher"), seed=0).to_dict(), allow_nan=False)
