"""The leaderboard's order, what a comparison compares, and where the charts' marks lie."""

import math

import pytest

from transfuse.evaluation import Interval
from transfuse.report import chart, rows, sections
from transfuse.report.words import Speaker

SPEAK = Speaker("en")


def test_leaderboard_is_sorted_and_ends_with_what_did_not_run(full):
    board = rows.leaderboard(full, SPEAK)
    values = [float(row.value) for row in board if row.status == "done"]
    assert values == sorted(values, reverse=True)
    assert [row.status for row in board[-2:]] == ["skipped", "failed"]
    assert [row.place for row in board] == [*range(1, 13), None, None]
    assert [row.id for row in board if row.chosen] == ["finetune.smollm2-135m-instruct+movies"]
    assert [row.id for row in board if row.reference] == ["tfidf"]
    assert board[0].backbone == "smollm2-135m-instruct"
    assert board[0].settings == "train_layers=6, learning_rate=0.0001, epochs=2, source_rows=2000, weight=4"


def test_less_is_better_turns_the_order(full):
    full["metric"] = "log_loss"
    for k, candidate in enumerate(full["candidates"]):
        candidate["validation"] = {"log_loss": {"value": 1 + k / 10, "low": 1, "high": 3}}
    assert rows.leaderboard(full, SPEAK)[0].id == full["candidates"][0]["id"]


def test_bars_lie_inside_their_scale_and_in_order(full):
    for row in rows.leaderboard(full, SPEAK):
        if row.bar:
            assert 0 < row.bar.low < row.bar.value < row.bar.high < 100
    marks = {row.bar.mark for row in rows.leaderboard(full, SPEAK) if row.bar}
    reference = next(row for row in rows.leaderboard(full, SPEAK) if row.reference)
    assert marks == {reference.bar.value}


def test_comparisons_lie_around_zero(full):
    found = rows.comparisons(full, "without source", SPEAK)
    assert [entry.sources for entry in found] == ["movies"] * 5
    for entry in found:
        assert (entry.bar.low > entry.bar.mark) == (entry.verdict == "helps")
    assert found[0].against == "against finetune.smollm2-135m-instruct"


def points(n, spread):
    return [
        chart.Point(str(k + 1), "", "feature", 10 ** (spread * math.sin(k)), Interval(0.7, 0.6, 0.8), k == 0)
        for k in range(n)
    ]


@pytest.mark.parametrize(("n", "spread"), [(2, 1.5), (12, 1.5), (14, 0.0)])
def test_labels_of_the_chart_do_not_overlap(n, spread):
    drawn = chart.quality_cost(points(n, spread), str, greater=True)
    boxes = [
        (d.label_x - len(d.point.label) * 4.5, d.label_y - 6.5, d.label_x + len(d.point.label) * 4.5, d.label_y + 6.5)
        for d in drawn.dots
    ]
    for i, box in enumerate(boxes):
        assert drawn.left < box[0] < box[2] < drawn.width
        for other in boxes[:i]:
            across = min(box[2], other[2]) - max(box[0], other[0])
            down = min(box[3], other[3]) - max(box[1], other[1])
            assert across <= 1e-6 or down <= 1e-6


def test_chart_of_identical_points_and_of_too_few():
    same = [chart.Point(str(k), "", "prompt", 5.0, Interval(0.5, 0.5, 0.5), False) for k in range(40)]
    drawn = chart.quality_cost(same, str, greater=True)
    assert all(math.isfinite(dot.label_x) and drawn.left < dot.x < drawn.right for dot in drawn.dots)
    assert chart.quality_cost(same[:1], str, greater=True) is None


def test_better_is_up_and_the_line_joins_what_none_beats():
    def point(seconds, value):
        return chart.Point("1", "", "feature", seconds, Interval(value, value - 0.01, value + 0.01), False)

    good = chart.quality_cost([point(1, 0.6), point(10, 0.8), point(100, 0.7)], str, greater=True)
    assert good.dots[1].y < good.dots[2].y < good.dots[0].y
    assert good.front.count(",") == 2, "the third costs more and is worse"
    loss = chart.quality_cost([point(1, 0.6), point(10, 0.8)], str, greater=False)
    assert loss.dots[0].y < loss.dots[1].y


@pytest.mark.parametrize(("low", "high"), [(0.38, 0.98), (0.851, 0.853), (0, 40), (-0.2, 0.1), (0.5, 0.5)])
def test_ticks_are_round_and_few(low, high):
    ticks = chart.steps(low, high)
    assert len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert high == low or len(ticks) >= 2


def test_calibration_plot_puts_the_sure_and_right_in_the_corner():
    plot = sections.calibration({"calibration": [{"n": 10, "confidence": 1.0, "accuracy": 1.0}, {"n": 0}]})
    assert [(x, y) for x, y, _, _ in plot.dots] == [(plot.end, 10)]


def test_nested_machine_is_flattened():
    assert sections.flat({"a": {"b": 1, "c": [2, None]}, "d": None}) == [("a b", "1"), ("a c", "2")]
