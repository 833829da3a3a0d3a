"""What a message was worth, by hand: values over a tree of samples, and what is learnt from them."""

from __future__ import annotations

import functools

import pytest
from teams.desk import UNDERSTAND, role

from transfuse.teams import Message, Role, Team, Traces, protocol
from transfuse.teams.protocols import Protocol
from transfuse.teams.values import kept, preferences, rests_on, tree, winners

USER = Message("x", 0, "user", "team", {"request": "r"})


def said(role: str, text: str, given: str = "r") -> Message:
    return Message("x", 1, role, "team", {"text": text}, given={"on": given})


def trace(draft: str, verdict: str, refined: str, outcome: float):
    return (USER, said("g", draft), said("v", verdict, draft), said("r", refined, verdict)), outcome


TRACES = [
    trace("a", "fine", "a1", 1.0),
    trace("a", "fine", "a2", 0.0),
    trace("a", "poor", "a3", 1.0),
    trace("b", "poor", "b1", 0.0),
    trace("b", "poor", "b2", 0.25),
]
"""a: ((1 + 0) / 2 + 1) / 2 = 0.75; fine: 0.5; b: (0 + 0.25) / 2 = 0.125; the root: (0.75 + 0.125) / 2."""


def test_values_are_the_means_of_branches():
    root = tree(TRACES)
    a, b = root.children.values()
    assert (a.value, b.value, root.value) == (0.75, 0.125, 0.4375)
    assert [child.value for child in a.children.values()] == [0.5, 1.0]


def test_equal_traces_are_one_branch_and_an_end_counts_as_one():
    root = tree([((USER, said("g", "a")), 1.0), ((USER, said("g", "a")), 0.0)])
    (node,) = root.children.values()
    assert (len(root.children), node.value) == (1, 0.5)


def test_winners_reach_the_threshold():
    root = tree(TRACES)
    assert [m.content["text"] for m in winners(root, "g", 0.5)] == ["a"]
    assert [m.content["text"] for m in winners(root, "v", 0.5)] == ["fine", "poor"]
    assert [m.content["text"] for m in winners(root, "r", 0.5)] == ["a1", "a3"]
    assert winners(root, "g", 0.8) == []


def test_preferences_are_siblings_that_were_told_the_same():
    root = tree(TRACES)
    (one,) = preferences(root, "g", 0.5)
    assert (one.better, one.worse, one.values) == ({"text": "a"}, {"text": "b"}, (0.75, 0.125))
    (one,) = preferences(root, "r", 0.5)
    assert (one.better["text"], one.worse["text"], one.given) == ("a1", "a2", {"on": "fine"})
    (one,) = preferences(root, "v", 0.6)
    assert (one.better["text"], one.worse["text"]) == ("poor", "fine")
    assert preferences(root, "v", 0.5) == [], "both reach it"


def test_rejection_sampling_keeps_whole_traces():
    assert [m.content["text"] for m in kept(TRACES, "g", 0.5)] == ["a"], "once, though two traces have it"
    assert [m.content["text"] for m in kept(TRACES, "r", 0.5)] == ["a1", "a3"]
    assert kept(TRACES, "r", 1.1) == []


def test_what_failed_teaches_nothing():
    broken = Message("x", 1, "g", "team", {}, given={"on": "r"}, outcome="failed", problem="raised")
    assert winners(tree([((USER, broken), 1.0)]), "g", 0.5) == kept([((USER, broken), 1.0)], "g", 0.5) == []


@pytest.mark.parametrize("outcomes", [[0.2, 0.4], [1.0], [0.0, 0.5, 1.0]])
def test_a_tree_of_one_turn_has_the_mean_outcome(outcomes):
    root = tree([((USER, said("g", str(i))), value) for i, value in enumerate(outcomes)])
    assert root.value == pytest.approx(sum(outcomes) / len(outcomes))


class Says:
    """A function that says one thing after another."""

    def __init__(self, *texts: str) -> None:
        self.texts = iter(texts)

    def __call__(self, given):
        return next(self.texts)


def judge(*good: str) -> Role:
    said = lambda given: "good" if given["reply"] in good else "bad"  # noqa: E731
    return role("judge", said, {"verdict": ["good", "bad"]}, input=["request", "reply"])


def rested(asked: Protocol, *roles: Role) -> list[tuple[str, str]]:
    """Who said what of that on which the answer rests."""
    store = Traces()
    answer = Team("t", list(roles), asked).ask("a refund", store)
    messages = rests_on(store.trace(answer.id).messages, answer.content)
    return [(m.sender, next(iter(m.content.values()))) for m in messages if m.sender != "user"]


def test_of_several_drafts_the_chosen_one_is_learnt():
    """Four drafts at once: the one that is chosen and the verdict on it; the loser's value is not the winner's."""
    asked = protocol("best_of", drafts="write", judge="judge", n=3)
    roles = [role("write", Says("one", "two", "three"), input=["request"]), judge("two")]
    assert rested(asked, *roles) == [("write", "two"), ("judge", "good")]
    roles[0] = role("write", Says("one", "two", "three"), input=["request"])
    polish = role("polish", lambda given: given["reply"] + "!", {"final": "text"}, input=["reply"])
    step = protocol("pipeline", steps=[asked, "polish"])
    assert rested(step, *roles, polish) == [("write", "two"), ("judge", "good"), ("polish", "two!")]


@pytest.mark.parametrize("input", [["request"], None])
def test_a_draft_that_was_written_again_is_not_learnt(input):
    """The verdict on it is, where it was heard."""
    asked = protocol("draft_judge_revise", drafts="write", judge="judge", rounds=3)
    found = rested(asked, role("write", Says("one", "two"), input=input), judge("two"))
    heard = [] if input else [("judge", "bad")]
    assert found == [*heard, ("write", "two"), ("judge", "good")]


def test_of_votes_those_for_the_winner_are_learnt():
    voters = [role(name, lambda g, n=name: "x" if n == "b" else "y", {"side": ["x", "y"]}) for name in "abc"]
    assert rested(protocol("vote", voters=list("abc")), *voters) == [("a", "y"), ("c", "y")]


def test_what_led_to_the_answer_is_learnt():
    """A choice of the way, an input, and what was revised under the same name, twice."""
    refunds = role("refunds", lambda given: "money", input=["request"])
    asked = protocol("route", by="understand", to={"refund": "refunds"})
    assert rested(asked, UNDERSTAND, refunds) == [("understand", "refund"), ("refunds", "money")]
    again = [
        role(name, lambda g: g.get("reply", "") + "!", input=["request", "reply"][: 1 + i])
        for i, name in enumerate("ab")
    ]
    again.append(role("c", lambda g: g["reply"] + "!", input=["reply"]))
    steps = protocol("pipeline", steps=["understand", *"abc"])
    found = [("understand", "refund"), ("a", "!"), ("b", "!!"), ("c", "!!!")]
    assert rested(steps, UNDERSTAND, *again) == found

    def joined(exchange, steps):
        return {"all": " ".join(exchange.ask(step).content["reply"] for step in steps)}

    own = functools.partial(joined, steps=["a", "b"])
    assert rested(own, *again) == [("a", "!"), ("b", "!!")], "an answer of which nothing is known"


def test_a_lost_draft_has_no_part_in_the_winners_value():
    """Two exchanges of two drafts each; each chosen draft has the outcome of its own."""
    drafts = {"a": 1.0, "b": 0.0}
    traces = []
    for good, outcome in drafts.items():
        store = Traces()
        asked = protocol("best_of", drafts="write", judge="judge", n=2)
        answer = Team("t", [role("write", Says("a", "b"), input=["request"]), judge(good)], asked).ask("r", store)
        traces.append((rests_on(store.trace(answer.id).messages, answer.content), outcome))
    root = tree(traces)
    assert [m.content["reply"] for m in winners(root, "write", 0.5)] == ["a"]
    ((better, worse),) = [(p.better["reply"], p.worse["reply"]) for p in preferences(root, "write", 0.5)]
    assert (better, worse) == ("a", "b")
    assert [m.content["reply"] for m in kept(traces, "write", 0.5)] == ["a"]
