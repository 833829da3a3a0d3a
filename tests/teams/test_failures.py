"""Roles that raise, hang, loop or talk rubbish: the team answers, or says that it cannot, in time."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time

import pytest
from teams.desk import desk, role

from transfuse.errors import OutputError, TeamError
from transfuse.teams import Limits, OnFailure, Reply, Team, Traces, protocol

HANG = threading.Event()


@pytest.fixture(autouse=True, scope="module")
def _wake():
    """Threads that a test left hanging end with the tests."""
    yield
    HANG.set()


def hangs(given):
    HANG.wait()


def broken(given):
    raise ValueError("out of order\n" * 100)


FAULTS = {
    "raises": (broken, "role 'write' raised ValueError: out of order out of"),
    "says nothing": (lambda g: " ", "role 'write' broke its contract: role 'write', field 'reply': found"),
    "gives None": (lambda g: None, "role 'write' broke its contract: role 'write': None"),
    "gives rubbish": (lambda g: object(), "role 'write' broke its contract: role 'write': <object"),
    "gives another field": (lambda g: {"answer": "x"}, "role 'write' broke its contract: role 'write', field"),
    "loops": (lambda g: Reply("la la la", looped=True), "role 'write' went in circles"),
    "exits": (lambda g: exec("raise SystemExit"), "role 'write' raised SystemExit"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_contained_and_told(fault):
    function, said = FAULTS[fault]
    answer = desk(role("write", function)).ask("refund")
    assert (answer.outcome, answer.content) == ("refused", None)
    assert answer.reason.startswith(said)
    assert answer.text.startswith("The team cannot answer: role 'write'")
    assert [m.outcome for m in answer.messages] == ["said", "said", "failed"]


def test_a_role_that_hangs_is_left_behind():
    began = time.monotonic()
    answer = desk(role("write", hangs), limits=Limits(seconds=0.4)).ask("refund")
    assert answer.reason.startswith("role 'write' took longer than 0.")
    assert time.monotonic() - began < 20


def test_a_hanging_role_leaves_time_for_another():
    slow = role("write", hangs, seconds=0.2, instead="short")
    answer = desk(slow, role("short", lambda g: "Later."), limits=Limits(seconds=30)).ask("refund")
    assert (answer.outcome, answer.text) == ("answered", "Later.")
    assert [m.sender for m in answer.messages if m.outcome == "failed"] == ["write"]


def test_a_role_that_always_hangs_is_soon_refused_at_once():
    team = desk(role("write", hangs, seconds=0.05))
    began = time.monotonic()
    answers = team.ask_all([f"r{i}" for i in range(40)], at_once=4)
    assert {a.outcome for a in answers} == {"refused"}
    assert answers[-1].reason == "role 'write' still hangs in an earlier call of 'write'"
    assert time.monotonic() - began < 20


def test_one_that_hangs_holds_nobody_else_up():
    def sometimes(given):
        return hangs(given) if given["request"] == "3" else "fine"

    team = desk(role("write", sometimes, input=["request"]), limits=Limits(seconds=4))
    answers = team.ask_all([str(i) for i in range(8)], at_once=8)
    assert [a.outcome for a in answers] == ["answered"] * 3 + ["refused"] + ["answered"] * 4


def test_a_call_takes_its_own_seconds_and_not_those_of_others():
    """The calls of a wave are waited for one after another: a slow model, one that hangs, those that were quick."""

    class Slow:
        together, spare = 4, 1
        lane = property(lambda self: self)

        def answer(self, calls):
            time.sleep(0.6)
            return [Reply("slowly") for _ in calls]

        def forget(self):
            pass

        def describe(self):
            return {}

    def sometimes(given):
        return hangs(given) if given["request"] == "0" else "fine"

    quick = role("write", sometimes, input=["request"], seconds=0.4)
    slow = dataclasses.replace(role("slow", len), speaker=Slow())
    steps = protocol("route", by="sort", to={"a": "write", "b": "slow"})
    sort = role("sort", lambda g: "b" if g["request"] == "3" else "a", {"way": ["a", "b"]}, input=["request"])
    answers = Team("t", [quick, slow, sort], steps, limits=Limits(seconds=30)).ask_all(["0", "1", "2", "3"])
    assert [a.text for a in answers[1:]] == ["fine", "fine", "slowly"]
    seconds = [answer.messages[2].seconds for answer in answers]
    assert seconds[0] == 0.4, "what it might take"
    assert max(seconds[1:3]) < 0.4
    assert seconds[3] >= 0.6


def test_a_protocol_that_raises_or_hangs():
    def raises(exchange):
        return 1 / 0

    def hangs_itself(exchange):
        HANG.wait()

    roles = list(desk().roles.values())
    assert Team("t", roles, raises).ask("r").reason == "the protocol raised ZeroDivisionError: division by zero"
    began = time.monotonic()
    answer = Team("t", roles, hangs_itself, limits=Limits(seconds=0.8)).ask("r")
    assert (answer.outcome, answer.reason) == ("refused", "its protocol took too long between two calls")
    assert time.monotonic() - began < 20
    assert Team("t", roles, lambda exchange: None).ask("r").reason == "nobody answered"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(turns=1), "the limit of 1 turns is reached"),
        (Limits(tokens=10), "the limit of 10 tokens is reached"),
        (Limits(money=0.5), "the limit of 0.5 in money is reached"),
        (Limits(seconds=0.1), "the limit of 0.1 seconds is reached"),
    ],
)
def test_limits(limits, reason):
    def dear(given):
        time.sleep(0.04)
        return Reply({"intent": "other"}, read=8, written=4)

    slow = role("understand", dear, {"intent": ["other"]}, price=(50_000.0, 50_000.0), seconds=9)
    team = Team("t", [slow], protocol("pipeline", steps=["understand"] * 9), limits=limits)
    answer = team.ask("r")
    assert answer.reason == reason or ("seconds" in reason and "took longer" in answer.reason)
    assert answer.messages[1].cost == pytest.approx(0.6)


def test_what_stands_in():
    plain = role("plain", lambda g: "We will call you.")
    fixed = desk(role("write", broken), on_failure=OnFailure(answer="Sorry.")).ask("r")
    assert (fixed.outcome, fixed.text) == ("stood_in", "Sorry.")
    assert fixed.reason.startswith("role 'write' raised ValueError")
    other = desk(role("write", broken), plain, on_failure=OnFailure(role="plain")).ask("r")
    assert (other.outcome, other.text) == ("stood_in", "We will call you.")
    both = desk(role("write", broken), role("plain", broken), on_failure=OnFailure(role="plain")).ask("r")
    assert both.outcome == "refused"
    assert "role 'plain' raised ValueError" in both.reason


def test_a_store_that_breaks_is_told_and_no_request_is_lost(tmp_path):
    traces = Traces(tmp_path / "t.sqlite")

    def breaks(given):
        traces._base.execute("drop table messages")
        return "x"

    with pytest.raises(OutputError, match=r"t\.sqlite: cannot be written"):
        desk(role("write", breaks)).ask("r", traces)


def test_control_c_leaves_requests_open_to_go_on(tmp_path):
    """The interrupt comes to the main thread, while roles work in others."""
    traces = Traces(tmp_path / "t.sqlite")

    def interrupts(given):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return "x"

    with pytest.raises(KeyboardInterrupt):
        desk(role("write", interrupts)).ask("r", traces, id="a")
    time.sleep(0.3)
    assert traces.trace("a").outcome == "open"
    assert desk(role("write", lambda g: "y")).ask_all(["r"], traces, ["b"])[0].text == "y"


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (lambda e: {"reply": " "}, "the protocol gave an empty answer"),
        (lambda e: {}, "the protocol gave an empty answer"),
        (lambda e: 7, "the protocol gave int, not a message or fields"),
        (lambda e: {"x": object()}, "the protocol gave dict, not a message or fields"),
        (lambda e: "\ud800", "the protocol gave dict, not a message or fields"),
    ],
)
def test_a_protocol_that_gives_no_answer(gives, reason):
    team = Team("t", list(desk().roles.values()), gives)
    assert [a.reason for a in team.ask_all(["a", "b"])] == [reason] * 2


def test_texts_that_are_none():
    half = desk(role("write", lambda given: "half \ud83d")).ask("refund")
    assert half.reason.startswith("role 'write' broke its contract: role 'write', field 'reply': found")
    for request in ("\ud83d", None, 7):
        with pytest.raises(TeamError, match="request 2: "):
            desk().ask_all(["fine", request])
    assert Team("t", [], lambda exchange: "words").ask("r").content == {"answer": "words"}
    assert desk().ask("  ").outcome == "answered"
