"""The page and the sentences of a cascade: all figures, both languages, nothing unescaped, a ring on the curve."""

from __future__ import annotations

import copy

import pytest
from report.test_rank_page import Balanced

from transfuse.evaluation import Interval
from transfuse.report import chart
from transfuse.report.cascade_page import agreement, board, cascade_page_of, lines, write_cascade


def interval(value, half=0.02):
    return {"value": value, "low": value - half, "high": value + half}


def point(threshold, share, quality):
    cost = 0.1 * (share < 1) + share
    return {
        "threshold": threshold,
        "share": share,
        "cost": cost,
        "quality": interval(quality),
        "against": interval(quality - 0.9),
    }


CURVE = [point("-inf", 0.0, 0.7), point(0.6, 0.25, 0.85), point(0.8, 0.5, 0.88), point("inf", 1.0, 0.9)]
FIGURES = {
    "teacher_is": "runs/big <b>",
    "data": "labelled <i>.csv",
    "rows": 1200,
    "metric": "accuracy",
    "greater": True,
    "goal": {"kind": "share", "value": 0.3},
    "prices": {"unit": "price", "student": 0.1, "teacher": 1.0},
    "chosen": CURVE[1],
    "curve": CURVE,
    "figures": {
        "quality": interval(0.84),
        "share": interval(0.25),
        "cost": interval(0.35),
        "student": interval(0.7),
        "teacher": interval(0.9),
        "against_student": interval(0.14),
        "against_teacher": interval(-0.06),
        "thresholds": [0.6, 0.61, 0.6, 0.59, 0.6],
        "missed": 0,
        "n": 1200,
    },
}


def changed(**fields):
    return {**copy.deepcopy(FIGURES), **fields}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_has_every_figure_and_asks_nothing_of_the_network(lang):
    page = cascade_page_of(FIGURES, lang)
    for words in ("0.840", "0.700", "0.900", "25%", "100%", "3,500", "1,200", "0.6", "−0.060", "+0.140", "30%"):
        assert words in page
    assert "labelled &lt;i&gt;.csv" in page
    assert "big &lt;b&gt;" in page
    assert not any(mark in page for mark in ("http://", "https://", "src=", "<script", "<link"))
    assert page.count("<circle") == len(CURVE) + 1
    assert page.count('class="ring"') == 1
    assert page.count('class="front"') == 1, "what a confidence that tells nothing would give"
    parser = Balanced()
    parser.feed(page.replace("<!doctype html>", ""))
    assert parser.open == []


def test_costs_of_the_machine_are_times():
    rows = board(changed(prices={"unit": "seconds", "student": 0.001, "teacher": 0.06}), "en")
    assert [row[-1] for row in rows] == ["10 s", "58 min 20 s", "10 min"]


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"kind": "teacher", "value": 0.0}, "without being shown to be worse than the teacher"),
        ({"kind": "quality", "value": 0.8}, "accuracy shown to be at least 0.8"),
        ({"kind": "cost", "value": 0.4}, "at most 0.4 an answer"),
        ({"kind": "share", "value": 0.3}, "asked of at most 30%"),
    ],
)
def test_the_goal_is_said(goal, words):
    assert words in lines(changed(goal=goal), "en")[0]


def test_less_may_be_better():
    told = lines(changed(goal={"kind": "quality", "value": 0.4}, greater=False, metric="log_loss"), "en")
    assert "shown to be at most 0.4" in told[0]


@pytest.mark.parametrize(
    ("place", "words"), [(0, "the student answers alone"), (1, "is below 0.6"), (3, "the teacher answers alone")]
)
def test_the_choice_is_said(place, words):
    assert words in lines(changed(chosen=CURVE[place]), "en")[1]


def test_folds_that_missed_the_goal_are_told():
    found = changed(figures={**FIGURES["figures"], "missed": 2})
    assert "In 2 of 5 folds the goal was not reached" in " ".join(lines(found, "en"))
    assert not any("folds" in line for line in lines(FIGURES, "en"))


def test_the_curve_stands_where_its_figures_say():
    points = [(p["cost"], Interval.from_dict(p["quality"]), "") for p in CURVE]
    drawn, ring = chart.cost_curve(points, 1)
    dots = drawn.lines["with"].dots
    assert ring == dots[1][:2]
    assert [x for x, _, _ in dots] == sorted(x for x, _, _ in dots)
    assert [y for _, y, _ in dots] == sorted((y for _, y, _ in dots), reverse=True)
    assert (dots[0][0], dots[-1][0]) == (drawn.left, drawn.right)


def test_no_curve_where_all_cost_the_same():
    assert chart.cost_curve([(1.0, Interval(0.5, 0.4, 0.6), ""), (1.0, Interval(0.6, 0.5, 0.7), "")], 0) is None
    free = [{**p, "cost": 0.0} for p in CURVE]
    assert "<svg" not in cascade_page_of(changed(curve=free, chosen=free[0]), "en")


def test_agreement_in_both_languages():
    about = {
        "teacher": "runs/big",
        "texts": 1440,
        "labelled": 0,
        "held_out": 160,
        "agreement": {"accuracy": interval(0.93)},
    }
    told = agreement(about, "en")
    assert told[0] == "Learnt from runs/big: 1,440 texts, and 0 labelled rows."
    assert told[1] == "accuracy of student and teacher on 160 texts that were held out: 0.930 (0.910 to 0.950)"
    assert "160" in agreement(about, "zh")[1]


def test_it_is_written_whole(tmp_path):
    path = write_cascade(FIGURES, tmp_path / "new" / "cascade.html", "en")
    assert path.read_text(encoding="utf-8") == cascade_page_of(FIGURES, "en")
