"""A team of functions, from a request to an answer and its trace."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from teams.desk import UNDERSTAND, WRITE, desk, role

from transfuse.errors import TeamError
from transfuse.teams import Reply, Team, Traces, protocol


def test_a_pipeline_answers_and_everything_is_recorded():
    traces = Traces()
    answer = desk().ask("my refund, please", traces, id="a")
    assert (answer.outcome, answer.text) == ("answered", "About your refund: my refund, please")
    assert [(m.sender, m.receiver, dict(m.content)) for m in answer.messages] == [
        ("user", "team", {"request": "my refund, please"}),
        ("understand", "write", {"intent": "refund"}),
        ("write", "team", {"reply": "About your refund: my refund, please"}),
    ]
    assert answer.messages[2].given == {"request": "my refund, please", "intent": "refund"}
    assert traces.trace("a").messages == answer.messages


def test_many_requests_keep_their_order_and_are_asked_once():
    asked = []
    counting = role("write", lambda given: asked.append(given["request"]) or "x", input=["request"])
    team, traces = desk(counting), Traces()
    requests = [f"request {i % 30}" for i in range(50)]
    first = team.ask_all(requests, traces)
    assert [a.messages[0].content["request"] for a in first] == requests
    assert team.ask_all(requests, traces) == first
    assert len(asked) == 50


def test_threads_that_ask_one_team_take_turns():
    """What a lane remembers is dropped when a wave begins, so no other one may be under way."""

    class Remembers:
        together, spare = 4, 1
        lane = property(lambda self: self)

        def __init__(self):
            self.kept, self.begun = {}, threading.Event()

        def answer(self, calls):
            for _, asked in calls:
                self.kept[asked.given["request"]] = asked.given["request"].upper()
            self.begun.set()
            time.sleep(0.2)
            return [Reply(self.kept[asked.given["request"]]) for _, asked in calls]

        def forget(self):
            self.kept = {}

        def describe(self):
            return {}

    lane, answers, traces = Remembers(), {}, Traces()
    team = desk(dataclasses.replace(role("write", len), speaker=lane), steps=["write"])
    threads = []
    for request in ("one", "two", "three"):
        asks = lambda request=request: answers.update({request: team.ask(request, traces)})  # noqa: E731
        threads.append(threading.Thread(target=asks))
        threads[-1].start()
        lane.begun.wait(10)
    for thread in threads:
        thread.join()
    assert {request: answer.text for request, answer in answers.items()} == {
        "one": "ONE",
        "two": "TWO",
        "three": "THREE",
    }


def test_a_role_says_first_what_another_needs():
    """`write` needs the intent, and the protocol does not ask for it."""
    answer = desk(steps=["write"]).ask("delivery?")
    assert [(m.sender, m.receiver) for m in answer.messages[1:]] == [("understand", "write"), ("write", "team")]


def test_two_roles_that_need_each_other_do_not_ask_for_ever():
    a = role("a", lambda given: "x", {"one": "text"}, input=["two"])
    b = role("b", lambda given: "x", {"two": "text"}, input=["one"])
    answer = Team("circle", [a, b], protocol("pipeline", steps=["a"])).ask("go")
    assert (answer.outcome, answer.reason) == ("refused", "role 'b' needs 'one', which nobody has said")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: desk(role("third", len, instead="fourth")), "team 'desk': no role 'fourth'"),
        (lambda: Team("x", [WRITE, WRITE], len), "team 'x': two roles named 'write'"),
        (lambda: role("user", len), "role 'user'"),
        (lambda: desk().ask_all(["a", "b"], ids=["1", "1"]), "ids of requests"),
    ],
)
def test_what_is_no_team(make, said):
    with pytest.raises(TeamError, match=said):
        make()


def test_what_a_role_is_given_is_typed():
    contract = desk().input_of("write")
    assert contract.to_dict() == {"request": "text", "intent": ["refund", "delivery", "other"]}
    assert contract.schema["properties"]["intent"]["enum"] == ["refund", "delivery", "other"]
    wrong = Team("t", [UNDERSTAND, WRITE], lambda exchange: exchange.ask("write", {"intent": "refnd"}))
    assert wrong.ask("r").reason == (
        "role 'write' was given, field 'intent': found 'refnd'. Expected: one of refund, delivery, other."
    )
    right = Team("t", [UNDERSTAND, WRITE], lambda exchange: exchange.ask("write", {"intent": "other"}))
    assert right.ask("r").text == "About your other: r"


def test_a_time_limit_of_a_role_is_part_of_the_fingerprint():
    """A refusal for lack of time in the traces of the team before is no answer of a team with more time."""
    prints = {desk(dataclasses.replace(WRITE, seconds=seconds)).fingerprint for seconds in (None, 1.0, 2.0)}
    assert len(prints) == 3
    assert desk(dataclasses.replace(WRITE, seconds=None)).fingerprint == desk().fingerprint


def test_one_role_is_replaced():
    team = desk().replaced(role("write", lambda given: "Hm."), seed=7)
    assert (team.ask("refund").text, team.seed, list(team.roles)) == ("Hm.", 7, ["understand", "write"])
