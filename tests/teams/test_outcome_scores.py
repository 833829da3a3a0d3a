"""Scores of a team's fields: by hand, equal to those of `evaluation`, and what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from teams.desk import INTENTS, desk, role
from teams.models import chooses

from transfuse.errors import DataError, UsageError
from transfuse.evaluation import compare
from transfuse.teams.labelled import LabelledRows, kinds_of, main_field, read_rows
from transfuse.teams.outcome_scores import measures, refuse_a_judge_of_the_team
from transfuse.teams.speakers import Chooses

ROWS = LabelledRows(
    ("refund 12 please", "delivery?", "other", "refund 7"),
    {
        "intent": ("refund", "delivery", "other", ""),
        "reply": ("We refund 12 to {name}.", "It comes.", "", "Done 7."),
        "mark": ("3", "4.5", "0", "1"),
        "tags": ("a, B", "c", "", "d"),
    },
    (1, 2, 3, 4),
)
KINDS = {"intent": tuple(INTENTS), "reply": "text", "mark": "number", "tags": "list"}
SAID = [
    {"intent": "refund", "reply": "We refund 12 to {name}.", "mark": 3.0, "tags": ["A", "b"]},
    {"intent": "refund", "reply": "no", "mark": 4.5, "tags": ["d"]},
    {"intent": "other", "reply": "what?", "mark": 1},
    {},
]
GOOD = [{"reply": text} for text in ROWS.fields["reply"]]


def table(path, header, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def test_each_kind_of_field_has_its_scores():
    found = measures(ROWS, KINDS)
    assert list(found) == [
        *("intent.accuracy", "reply.chrf", "reply.numbers", "reply.placeholders", "reply.repetition"),
        *("mark.accuracy", "tags.accuracy"),
    ]
    value = {key: measure.interval(SAID, 0).value for key, measure in found.items()}
    assert value["intent.accuracy"] == pytest.approx(2 / 3)  # the fourth row has no intent
    assert value["mark.accuracy"] == pytest.approx(2 / 4)
    assert value["tags.accuracy"] == pytest.approx(1 / 3)
    assert value["reply.numbers"] == pytest.approx(1 / 2)  # 12 kept, 7 lost with the refusal
    assert value["reply.placeholders"] == 1
    assert 30 < value["reply.chrf"] < 99
    chrf = found["reply.chrf"]
    assert chrf.interval(GOOD, 0).value == pytest.approx(100)
    assert chrf.interval([{}] * 4, 0).value == 0, "who refuses has said nothing"
    assert list(chrf.each(SAID).argsort(kind="stable")) == [2, 1, 0]
    assert found["intent.accuracy"].interval(SAID, 0, [False] * 3 + [True]) is None


@pytest.mark.parametrize("key", ["intent.accuracy", "reply.chrf", "reply.repetition"])
def test_a_contrast_of_two_is_the_comparison_of_evaluation(key):
    measure = measures(ROWS, KINDS)[key]
    other = [{"intent": "other", "reply": "a b c d a b c d a b c d"}] * 4
    expected = compare(measure.known, measure.table(SAID), measure.table(other), metric=measure.metric, seed=3)
    assert measure.contrast([(1, SAID), (-1, other)], 3) == expected.difference
    found = measure.compared(SAID, other, 3)
    assert (found.difference, found.verdict) == (expected.difference, expected.verdict)
    assert measure.contrast([(1, SAID), (-1, SAID)], 3).high == 0
    assert measure.compared(SAID, SAID, 3).p == 1


def test_the_p_value_of_exchangeable_answers():
    """By hand: eight rows that only the first has right; the sign test says 2^-8, both ways of drawing near it."""
    rows = LabelledRows(tuple("abcdefgh"), {"intent": ("refund",) * 8}, tuple(range(8)))
    measure = measures(rows, KINDS)["intent.accuracy"]
    right, wrong = [{"intent": "refund"}] * 8, [{"intent": "other"}] * 8
    assert measure.compared(right, wrong, 0).p == pytest.approx(2**-8, abs=0.006)
    assert measure.compared(wrong, right, 0).p > 0.99


class Reads:
    """Stands in for a classifier: the label is the first that the text names."""

    labels = INTENTS

    def predict(self, texts):
        return [next((label for label in INTENTS if label in text), "other") for text in texts]


def test_a_held_out_classifier_reads_the_label_from_the_text():
    found = measures(ROWS, KINDS, Reads())
    assert found["reply.fits"].interval(SAID, 0).value == pytest.approx(2 / 3)  # refund, not delivery, other
    assert np.array_equal(found["reply.fits"].table([{}] * 4)[:, 1], np.zeros(3))
    outcome = found["reply.outcome"]
    assert list(outcome.places) == [0, 1], "rows with a label and a reference"
    assert outcome.interval(SAID, 0).value == pytest.approx(1 / 2)
    for text, whole in {
        "We refund 12 to {name}.": 1,
        "We refund 12.": 0,
        "We refund {name}.": 0,
        "12 {name}": 0,
    }.items():
        assert outcome.each([{"reply": text}, {}, {}, {}])[0] == whole, text
    with pytest.raises(UsageError, match="the judge knows refund, delivery, other, and no column of memory"):
        measures(LabelledRows(("a",), {"reply": ("b",)}, (1,)), KINDS, Reads())


def test_a_judge_of_the_team_is_refused():
    model = chooses(("refund", "other"), 1)
    team = desk(role("understand", len, {"intent": ["refund", "other"]}))
    refuse_a_judge_of_the_team(model, team, "judge")
    object.__setattr__(team.roles["understand"], "speaker", Chooses(chooses(("refund", "other"), 1), "intent"))
    with pytest.raises(UsageError, match=r"--judge runs/j: this model answers for the role 'understand'[\s\S]*no role"):
        refuse_a_judge_of_the_team(model, team, "runs/j")


def test_rows_are_read_by_the_names_of_fields(tmp_path):
    path = table(tmp_path / "d.csv", ("asked", "intent", "reply", "x"), ("my refund", "refund", "Done.", 1))
    assert read_rows(path, desk()).requests == ("my refund",), "the only column of words"
    rows = read_rows(path, desk(), "asked")
    assert (rows.requests, dict(rows.fields)) == (("my refund",), {"intent": ("refund",), "reply": ("Done.",)})
    assert main_field(rows, desk()) == "reply"
    assert main_field(rows, desk(), "intent") == "intent"
    assert kinds_of(desk()) == {"intent": tuple(INTENTS), "reply": "text"}
    with pytest.raises(DataError, match=r"no column of the field 'replies'. Did you mean 'reply'\?"):
        main_field(rows, desk(), "replies")
    two = desk(role("sum", len, {"summary": "text"}))
    several = LabelledRows(("a",), {"reply": ("b",), "summary": ("c",)}, (1,))
    with pytest.raises(DataError, match=r"which field is the team's answer[\s\S]*'reply', 'summary'"):
        main_field(several, two)


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (("request", "intent"), ("a", "refnd"), r"row 1, column 'intent': found 'refnd'. Did you mean 'refund'\?"),
        (("request", "intent"), (" ", "refund"), "row 1, column 'request': empty"),
        (("request", "reply"), ("a", ""), "column 'reply': empty in every row"),
        (("request", "label"), ("a", "b"), "none of its columns 'request', 'label' is a field of the team"),
        (("intent", "reply"), ("refund", "b"), "which column holds the requests"),
    ],
)
def test_what_cannot_be_judged_by(tmp_path, header, row, said):
    with pytest.raises(DataError, match=said):
        read_rows(table(tmp_path / "d.csv", header, row), desk())
