"""Each protocol by hand, and one of our own."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
from teams.desk import UNDERSTAND, desk, role

from transfuse.teams import Limits, OnFailure, Reply, Team, protocol


def counted(*said):
    """A function that says one thing after another, then the last for ever."""
    rest = itertools.chain(said, itertools.repeat(said[-1]))
    return lambda given: next(rest)


def judge(function, name="judge", **other):
    return role(name, function, {"verdict": ["good", "bad"]}, input=["request", "reply"], **other)


def senders(answer):
    return [message.sender for message in answer.messages[1:]]


def test_route_lets_the_first_role_choose():
    refund, rest = role("refunds", lambda g: "money"), role("rest", lambda g: "words")
    asked = protocol("route", by="understand", to={"refund": "refunds"}, otherwise="rest")
    team = Team("t", [UNDERSTAND, refund, rest], asked)
    assert [a.text for a in team.ask_all(["a refund", "a delivery"])] == ["money", "words"]
    closed = Team("t", [UNDERSTAND, refund], protocol("route", by="understand", to={"refund": "refunds"}))
    assert closed.ask("a delivery").reason == "role 'understand' chose 'delivery', for which nobody answers"


def test_a_route_is_chosen_by_the_role_instead_in_its_own_field():
    by = role("sort", broken, {"kind": ["x", "refund"]}, instead="understand")
    asked = protocol("route", by="sort", to={"refund": "refunds"})
    team = Team("t", [by, UNDERSTAND, role("refunds", lambda g: "money")], asked)
    assert team.ask("a refund").text == "money"


def test_a_draft_is_revised_until_it_is_accepted():
    write = role("write", counted("one", "two", "three"), input=["request", "verdict"])
    loop = protocol("draft_judge_revise", drafts="write", judge="judge", rounds=3)
    team = Team("t", [write, judge(lambda g: "good" if g["reply"] == "two" else "bad")], loop)
    write_first = role("write", counted("one", "two", "three"))
    team = Team("t", [write_first, team.roles["judge"]], loop)
    answer = team.ask("r")
    assert (answer.text, senders(answer)) == ("two", ["write", "judge", "write", "judge"])
    assert answer.messages[3].given == {"request": "r", "verdict": "bad"}, "it is given what the judge said"
    assert [m.receiver for m in answer.messages[1:3]] == ["judge", "write"]


@pytest.mark.parametrize(("strict", "outcome"), [(False, "answered"), (True, "refused")])
def test_no_draft_is_accepted(strict, outcome):
    write = role("write", counted("one", "two", "three", "four"))
    loop = protocol("draft_judge_revise", drafts="write", judge="judge", rounds=3, strict=strict)
    answer = Team("t", [write, judge(lambda g: "bad")], loop).ask("r")
    assert (answer.outcome, senders(answer).count("write")) == (outcome, 3)
    assert answer.text == (
        "three" if not strict else "The team cannot answer: role 'judge' accepted no draft of role 'write'."
    )


def test_a_draft_that_stays_the_same_is_not_judged_again():
    loop = protocol("draft_judge_revise", drafts="write", judge="judge", rounds=9)
    answer = Team("t", [role("write", lambda g: "same"), judge(lambda g: "bad")], loop).ask("r")
    assert (answer.text, senders(answer)) == ("same", ["write", "judge", "write"])


def test_the_best_of_several_by_probability_and_by_number():
    drafts = role("write", lambda g, seed: f"draft {seed % 5}", seeded=True)
    by_share = judge(
        lambda g: Reply(
            {"verdict": "bad"}, {"good": math.log(s := 0.01 + 0.1 * int(g["reply"][-1])), "bad": math.log(1 - s)}
        )
    )
    best = protocol("best_of", drafts="write", judge="judge", n=6)
    answer = Team("t", [drafts, by_share], best).ask("r")
    said = [m.content["reply"] for m in answer.messages[1:7]]
    assert len(set(said)) > 1, "every draft has a seed of its own"
    assert answer.text == max(said)
    by_number = role("judge", lambda g: -float(g["reply"][-1]), {"score": "number"}, input=["reply"])
    number = role("judge", lambda g: {"score": -float(g["reply"][-1])}, {"score": "number"}, input=["reply"])
    assert Team("t", [drafts, number], best).ask("r", id=answer.id).text == min(said)
    assert "broke its contract" in Team("t", [drafts, by_number], best).ask("r").reason


def test_the_majority_and_what_is_surest_among_equals():
    def voter(name, label, share):
        other = "b" if label == "a" else "a"
        scores = {label: math.log(share), other: math.log(1 - share)}
        return role(name, lambda g: Reply({"side": label}, scores), {"side": ["a", "b"]})

    voters = [voter("one", "a", 0.6), voter("two", "b", 0.9), voter("three", "a", 0.6), voter("four", "b", 0.8)]
    vote = protocol("vote", voters=["one", "two", "three", "four"])
    assert Team("t", voters, vote).ask("r").text == "b"
    assert Team("t", [*voters, voter("five", "a", 0.5)], protocol("vote", voters=["one", "three", "five", "two"])).ask(
        "r"
    ).content == {"side": "a"}


def test_who_fails_does_not_vote():
    def broken(given):
        raise RuntimeError("no")

    voters = [role("one", lambda g: "a", {"side": ["a", "b"]}), role("two", broken, {"side": ["a", "b"]})]
    assert Team("t", voters, protocol("vote", voters=["one", "two"])).ask("r").text == "a"
    strict = Team("t", voters, protocol("vote", voters=["one", "two"], least=2)).ask("r")
    assert strict.reason == "1 of 2 voted; 2 are needed"


SIDES = {"side": ["a", "b"]}


def test_the_role_instead_votes():
    voters = [role("one", broken, SIDES, instead="two"), role("two", lambda g: "b", SIDES)]
    answer = Team("t", voters, protocol("vote", voters=["one"])).ask("r")
    assert (answer.text, senders(answer)) == ("b", ["one", "two"])


def test_who_lacks_what_it_needs_does_not_vote():
    """`three` and `four` need the intent, which is asked for once."""
    needy = {"input": ["request", "intent"]}
    roles = [
        role("understand", broken, {"intent": ["refund"]}),
        *(role(name, lambda g: "a", SIDES) for name in ("one", "two")),
        *(role(name, lambda g: "b", SIDES, **needy) for name in ("three", "four")),
    ]
    vote = protocol("vote", voters=["one", "two", "three", "four"])
    answer = Team("t", roles, vote).ask("r")
    assert (answer.text, senders(answer)) == ("a", ["understand", "one", "two"])
    other = role("four", lambda g: "b", SIDES, instead="five", **needy)
    told = Team("t", [*roles[:4], other, role("five", lambda g: "a", SIDES)], vote).ask("r")
    assert senders(told) == ["understand", "one", "two", "five"]
    circle = [role(x, lambda g: "b", SIDES, instead=y, input=["intent"]) for x, y in ("ab", "ba")]
    alone = Team("t", [roles[0], *circle], protocol("pipeline", steps=["a"])).ask("r")
    assert alone.reason == "role 'understand' raised RuntimeError: no"


def test_best_of_asks_the_role_instead_and_says_why_there_is_no_draft():
    best = protocol("best_of", drafts="write", judge="judge", n=2)
    kind, plain = judge(lambda g: "good", "kind"), role("plain", lambda g: "plain")
    first = role("write", counted("one", "two"))
    answer = Team("t", [first, judge(broken, instead="kind"), kind], best).ask("r")
    assert (answer.text, senders(answer)) == ("one", ["write", "write", "judge", "judge", "kind", "kind"])
    drafted = Team("t", [role("write", broken, instead="plain"), plain, kind, judge(lambda g: "good")], best).ask("r")
    assert (drafted.text, senders(drafted)) == ("plain", ["write", "write", "plain", "plain", "judge", "judge"])
    nothing = Team("t", [role("write", broken), kind, judge(lambda g: "good")], best).ask("r")
    assert nothing.reason == "role 'write' raised RuntimeError: no"


def test_a_debate_is_a_short_function():
    def debate(exchange, sides, judge, rounds=2):
        for _ in range(rounds):
            for side in sides:
                exchange.ask(side)
        return exchange.ask(judge)

    pro = role("pro", lambda g: f"yes, not {g.get('no', '...')}", {"yes": "text"})
    con = role("con", lambda g: f"no, not {g['yes'][:3]}", {"no": "text"})
    court = role("court", lambda g: f"{g['yes']} / {g['no']}", {"ruling": "text"})
    team = Team("t", [pro, con, court], functools.partial(debate, sides=("pro", "con"), judge="court"))
    answer = team.ask("r")
    assert senders(answer) == ["pro", "con", "pro", "con", "court"]
    assert answer.text == "yes, not no, not yes / no, not yes"


def test_a_protocol_for_ever_ends_at_the_limit():
    def for_ever(exchange):
        while True:
            exchange.ask("write")

    team = Team("t", desk().roles.values(), for_ever, limits=Limits(turns=7))
    answer = team.ask("refund")
    assert (answer.outcome, answer.reason) == ("refused", "the limit of 7 turns is reached")
    assert len(answer.messages) == 8


def broken(given):
    raise RuntimeError("no")


def test_who_stands_in_for_the_last_role_that_is_passed_over_says_the_same_fields():
    passing = OnFailure(passing=True)
    mute = desk(role("write", broken), on_failure=passing).ask("refund")
    assert (mute.outcome, mute.content, senders(mute)) == ("refused", None, ["understand", "write"])
    polish = role("polish", broken, {"reply": "text"})
    answer = desk(polish, steps=["understand", "write", "polish"], on_failure=passing).ask("refund")
    assert (answer.outcome, answer.content) == ("answered", {"reply": "About your refund: refund"})
    late = desk(polish, steps=["write", "understand", "polish"], on_failure=passing).ask("refund")
    assert late.content == answer.content, "the latest words with its fields"


@pytest.mark.parametrize("broken_judge", [True, False])
def test_strict_refuses_a_draft_that_nobody_has_accepted(broken_judge):
    loop = protocol("draft_judge_revise", drafts="write", judge="judge", strict=True)
    judged = judge(broken if broken_judge else lambda g: "bad")
    answer = Team("t", [role("write", lambda g: "hm"), judged], loop, on_failure=OnFailure(passing=True)).ask("r")
    assert (answer.outcome, answer.reason) == ("refused", "role 'judge' accepted no draft of role 'write'")


def test_roles_that_fail_are_passed_over_where_the_team_says_so():
    passing = OnFailure(passing=True)
    plain = role("write", lambda g: f"about {g.get('intent', 'it')}")
    team = desk(role("understand", broken, {"intent": ["refund"]}), plain, on_failure=passing)
    assert team.ask("r").text == "about it"
    loop = protocol("draft_judge_revise", drafts="write", judge="judge")
    assert Team("t", [plain, judge(broken)], loop, on_failure=passing).ask("r").text == "about it"
    assert Team("t", [plain, judge(broken)], loop).ask("r").outcome == "refused"
    best = protocol("best_of", drafts="write", judge="judge")
    assert Team("t", [plain, judge(broken)], best, on_failure=passing).ask("r").text == "about it"
