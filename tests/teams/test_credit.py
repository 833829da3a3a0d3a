"""Counterfactual credit on a team whose parts are worth what we made them worth."""

from __future__ import annotations

import pytest
from teams.desk import desk, role

from transfuse.teams import Team, protocol
from transfuse.teams.credit import credits
from transfuse.teams.evaluation import Runs
from transfuse.teams.labelled import LabelledRows
from transfuse.teams.outcome_scores import measures

MARKS = ["yes", "no"]
COUNT = 60
ROWS = LabelledRows(tuple(f"row {i}" for i in range(COUNT)), {"mark": ("yes",) * COUNT}, tuple(range(COUNT)))


def place(given):
    return int(given["request"].split()[1])


def part(name, upto):
    """Says yes below a place, so that its worth is a known share of the rows."""
    return role(name, lambda given: "yes" if place(given) < upto else "no", {name: MARKS}, input=["request"])


def team(join, *roles):
    mark = role("mark", join, {"mark": MARKS}, input=["request", "a", "b"])
    return Team("sum", [*roles, mark], protocol("pipeline", steps=["a", "b", "mark"]))


def either(given):
    """Right in the first half if a says so, in the second half if b does: worths add up."""
    return given["a"] if place(given) < COUNT // 2 else given["b"]


def both(given):
    return "yes" if given["a"] == given["b"] == "yes" else "no"


def any_of(given):
    return "yes" if "yes" in (given.get("a"), given.get("b")) else "no"


UNTRAINED = {"a": part("a", 0), "b": part("b", 0)}


def credit(join, **other):
    made = team(join, part("a", COUNT), part("b", COUNT))
    measure = measures(ROWS, {"mark": tuple(MARKS)})["mark.accuracy"]
    return credits(made, other.get("untrained", UNTRAINED), Runs(ROWS.requests, None), measure, 0)


def test_independent_roles_share_the_whole():
    found = credit(either)
    for one in found["roles"]:
        assert one["credit"]["difference"]["value"] == pytest.approx(0.5)
        assert one["alone"]["difference"]["value"] == pytest.approx(0.5)
        assert (one["credit"]["verdict"], one["alone"]["verdict"]) == ("helps", "helps")
        assert one["credit"]["difference"]["low"] > 0.3
    assert found["sum"]["whole"]["value"] == pytest.approx(1)
    assert found["sum"]["credits"]["value"] == pytest.approx(1)
    assert found["sum"]["gap"]["value"] == pytest.approx(0)
    assert found["sum"]["adds_up"]


def test_roles_that_need_each_other_have_credits_above_the_whole():
    found = credit(both)
    assert [one["credit"]["difference"]["value"] for one in found["roles"]] == [1, 1]
    assert [one["alone"]["difference"]["value"] for one in found["roles"]] == [0, 0]
    assert (found["sum"]["gap"]["value"], found["sum"]["adds_up"]) == (1, False)


def test_roles_that_stand_in_for_each_other_have_credits_below_it():
    found = credit(any_of)
    assert [one["credit"]["verdict"] for one in found["roles"]] == ["no evidence", "no evidence"]
    assert [one["alone"]["difference"]["value"] for one in found["roles"]] == [1, 1]
    assert (found["sum"]["gap"]["value"], found["sum"]["adds_up"]) == (-1, False)


def test_an_untrained_self_that_is_the_same_is_worth_nothing():
    found = credit(either, untrained={"a": part("a", COUNT), "b": part("b", 0)})
    first, second = found["roles"]
    assert first["credit"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert first["credit"]["verdict"] == "no evidence"
    assert second["credit"]["verdict"] == "helps"


def test_the_only_trained_role_is_worth_the_whole():
    asked = []

    class Counts(Runs):
        def traces(self, name, team):
            asked.append(name)
            return super().traces(name, team)

    made = team(either, part("a", COUNT), part("b", COUNT))
    measure = measures(ROWS, {"mark": tuple(MARKS)})["mark.accuracy"]
    found = credits(made, {"a": UNTRAINED["a"]}, Counts(ROWS.requests, None), measure, 0)
    assert found["sum"]["gap"] == {"value": 0, "low": 0, "high": 0}
    assert set(asked) == {"team", "untrained", "mark without a", "mark without b"}


def test_what_a_field_is_worth():
    """`mark` takes either; it fails where it is not shown what it asks for."""
    found = credit(either)["fields"]
    assert [(one["role"], one["field"]) for one in found] == [("mark", "a"), ("mark", "b")]
    assert [one["worth"]["difference"]["value"] for one in found] == pytest.approx([0.5, 0.5])
    spare = credit(any_of)["fields"]
    assert [one["worth"]["verdict"] for one in spare] == ["no evidence", "no evidence"]


def test_without_trained_roles_only_fields_are_dropped():
    made = desk()
    rows = LabelledRows(("a refund",), {"reply": ("About your refund: a refund",)}, (1,))
    measure = measures(rows, {"reply": "text"})["reply.chrf"]
    found = credits(made, {}, Runs(rows.requests, None), measure, 0)
    assert (found["roles"], found["sum"]) == ([], None)
    assert [one["field"] for one in found["fields"]] == ["intent"]
