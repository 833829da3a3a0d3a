"""What a message was worth, by hand: values over a tree of samples, and what is learnt from them."""

from __future__ import annotations

import pytest

from transfuse.teams import Message
from transfuse.teams.values import kept, preferences, tree, winners

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
