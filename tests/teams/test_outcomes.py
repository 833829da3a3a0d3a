"""Outcome checks: rules by hand, a classifier that is held out, a judge, and that no check grades what it selected."""

from __future__ import annotations

import numpy as np
import pytest
from teams.desk import desk, role
from teams.models import chooses

from transfuse.errors import RecipeError, TeamError
from transfuse.teams import Reply, Role, protocol
from transfuse.teams.contract import Contract
from transfuse.teams.outcomes import (
    EQUALS,
    NUMBERS,
    PLACEHOLDERS,
    All,
    Classified,
    Judge,
    Judged,
    apart,
    check_of,
    held_out,
    matches,
)
from transfuse.teams.speakers import Chooses
from transfuse.teams.traces import text_of


def one(request: str, answer: str, expected: str = "") -> Judged:
    return Judged(request, answer, {"reply": answer}, {"reply": expected})


def fields(content: dict, **expected: str) -> Judged:
    return Judged("x", text_of(content), content, expected)


@pytest.mark.parametrize(
    ("check", "judged", "score"),
    [
        (NUMBERS, one("Order 12, 30 euros", "30 for 12."), 1),
        (NUMBERS, one("Order 12, 12 times", "12."), 0),
        (NUMBERS, one("None", ""), 0),
        (PLACEHOLDERS, one("Dear {name}, %d", "%d, {name}"), 1),
        (PLACEHOLDERS, one("Dear {name}", "Dear name"), 0),
        (EQUALS, one("x", "Yes  please", "yes please"), 1),
        (NUMBERS, one("Order 12, 3 days ago", "12.", "On its way: 12."), 1),
        (NUMBERS, one("Order 12, 3 days ago", "3.", "On its way: 12."), 0),
        (EQUALS, one("x", "yes", "no"), 0),
        (EQUALS, one("x", "yes"), 0),
        (EQUALS, fields({"answer": 12.0}, answer="12"), 1),
        (EQUALS, fields({"answer": 12.5}, answer="12"), 0),
        (EQUALS, fields({"answer": 0.0}, expected="0"), 1),
        (EQUALS, fields({"answer": 1.0}, answer="one"), 0),
        (EQUALS, fields({"names": ["Ann", "Bo"]}, names="ann, bo"), 1),
        (EQUALS, fields({"intent": "refund", "sum": 3.0}, intent="refund", sum="3", other="x"), 1),
        (EQUALS, fields({"intent": "refund", "sum": 3.0}, intent="refund", sum="4"), 0),
        (EQUALS, fields({"intent": "refund", "reply": "Yes."}, intent="refund"), 1),
        (matches("^We are"), one("x", "We are sorry."), 1),
        (matches("^We are"), one("x", "Sorry."), 0),
        (All((NUMBERS, matches("e"))), one("1", "1 e"), 1),
        (All((NUMBERS, matches("e"))), one("1", "1"), 0),
    ],
)
def test_rules(check, judged, score):
    assert check.scores([judged]).tolist() == [score]


def test_a_classifier_gives_its_probability_and_is_no_role_of_the_team():
    model = chooses(("good", "bad"), 2)
    check = Classified(model, "good")
    texts = ["the good", "x"]
    found = check.scores([*(one("r", text) for text in texts), one("r", "")])
    np.testing.assert_allclose(found, [*model.predict_proba(texts)[:, 0], 0])
    judge = Role("judge", Chooses(model, "verdict"), Contract.of({"verdict": ["good", "bad"]}))
    held_out(check, desk())
    with pytest.raises(TeamError, match="is role 'judge' of the team"):
        held_out(All((NUMBERS, check)), desk(judge))
    held_out(Classified(chooses(("good", "bad"), 3), "good"), desk(judge))


def test_a_judge_says_how_probable_its_approval_is():
    said = lambda given: Reply({"verdict": "good" if "sorry" in given["reply"] else "bad"}, {"good": -0.5, "bad": -1.0})  # noqa: E731
    team = desk(role("judge", said, {"verdict": ["good", "bad"]}, input=["request", "reply"]))
    assert Judge(team, "judge").scores([one("r", "sorry"), one("r", "")]) == pytest.approx([np.exp(-0.5), 0])
    marks = desk(role("judge", lambda given: {"mark": 0.25}, {"mark": "number"}, input=["reply"]))
    assert Judge(marks, "judge").scores([one("r", "x")]).tolist() == [0.25]


def test_what_selects_never_grades():
    apart(NUMBERS, EQUALS, desk())
    with pytest.raises(TeamError, match="'numbers' both selects traces and grades the team"):
        apart(All((matches("x"), NUMBERS)), NUMBERS, desk())
    team = desk(role("judge", lambda given: "good", {"verdict": ["good", "bad"]}))
    with pytest.raises(TeamError, match="both selects traces and grades"):
        apart(Judge(team, "judge"), Judge(team, "judge"), team)


@pytest.mark.parametrize("name", ["best_of", "draft_judge_revise"])
def test_who_selects_drafts_never_grades(name):
    """Under another name, too, and wherever the choice is made."""

    def picks(given):
        return "good"

    verdict = {"verdict": ["good", "bad"]}
    roles = [role("judge", picks, verdict), role("again", picks, verdict), role("other", lambda g: "bad", verdict)]
    step = protocol("route", by="understand", to={"judge": protocol(name, drafts="write", judge="judge")})
    team = desk(*roles, steps=["understand", step])
    apart(NUMBERS, Judge(team, "other"), team)
    apart(Judge(team, "judge"), NUMBERS, team)
    for grades in ("judge", "again"):
        with pytest.raises(TeamError, match="role 'judge' both selects drafts in the protocol and grades the team"):
            apart(NUMBERS, All((EQUALS, Judge(team, grades))), team)


def test_checks_of_a_file(tmp_path):
    team = desk(role("judge", lambda given: "good", {"verdict": ["good", "bad"]}))
    chooses(("good", "bad"), 2).save(tmp_path / "m")
    assert check_of("numbers", team, tmp_path) is NUMBERS
    found = check_of(["placeholders", {"matches": "a+"}, {"classifier": "m", "label": "good"}], team, tmp_path)
    assert [part.identity.split()[0] for part in found.checks] == ["placeholders", "matches", "classifier"]
    assert check_of({"judge": "judge", "accept": "bad"}, team, tmp_path).accept == ("bad",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nombers", "learn: found 'nombers'\nExpected: numbers"),
        ({"judge": "jude"}, "no role 'jude'. Did you mean 'judge'"),
        ({"matches": "("}, "no regular expression"),
        ([], "found an empty list"),
    ],
)
def test_what_is_refused(value, said, tmp_path):
    team = desk(role("judge", lambda given: "good", {"verdict": ["good", "bad"]}))
    with pytest.raises(RecipeError) as error:
        check_of(value, team, tmp_path)
    assert said in str(error.value)
