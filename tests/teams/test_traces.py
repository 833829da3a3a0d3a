"""Traces: durable, resumable, searchable, replayed bit for bit, exported."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from teams import asks
from teams.desk import desk, role

from transfuse.errors import OutputError, TeamError
from transfuse.teams import Message, Reply, Team, Traces, replay
from transfuse.teams.telemetry import jsonl


def bodies(path) -> dict[tuple[str, int], str]:
    with sqlite3.connect(path) as base:
        return {(e, t): body for e, t, body in base.execute("select exchange, turn, body from messages")}


def kill_after(path: Path, messages: int) -> None:
    """Start the process of `asks` and send SIGKILL once so many messages are kept."""
    process = subprocess.Popen([sys.executable, asks.__file__, str(path)], env={**os.environ})
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if len(bodies(path)) >= messages:
                break
        except sqlite3.OperationalError:
            pass  # no tables yet
        time.sleep(0.005)
    assert process.poll() is None, "it must not have ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_in_the_middle_of_200_requests_and_asked_again(tmp_path):
    path = tmp_path / "traces.sqlite"
    before: dict[tuple[str, int], str] = {}
    for messages in (60, 300):
        kill_after(path, messages)
        kept = bodies(path)
        assert before.items() <= kept.items(), "no message is lost or changed"
        turns = {exchange: sorted(t for e, t in kept if e == exchange) for exchange, _ in kept}
        assert all(found == list(range(len(found))) for found in turns.values()), "a whole prefix of every exchange"
        before = kept
    ended = Traces(path).search(outcome="answered")
    assert 0 < len(ended) < 200
    answers = asks.ask(str(path))
    after = bodies(path)
    assert before.items() <= after.items()
    assert [a.outcome for a in answers] == ["refused" if "7 about" in r else "answered" for r in asks.REQUESTS]
    assert all(a.content or a.reason == "role 'write' raised RuntimeError: no seven" for a in answers)
    assert len(after) == 200 * 3, "the user's, and each role's once"
    undisturbed = tmp_path / "undisturbed.sqlite"
    asks.ask(str(undisturbed))
    assert bodies(undisturbed) == after, "byte for byte"
    assert len(Traces(path)) == 200


def test_a_message_becomes_bytes_and_back():
    message = Message(
        "a", 3, "write", "team", {"reply": "ä\n"}, {"x": 1.5}, scores={"a": -0.1}, ids=(1, 2), seconds=9.0
    )
    again = Message.from_body(message.body, 9.0)
    assert (again, again.body) == (message, message.body)
    assert "seconds" not in message.body


def test_the_first_message_at_a_place_stays():
    traces = Traces()
    first = Message("a", 1, "write", "team", {"reply": "one"})
    other = Message("a", 1, "write", "team", {"reply": "two"})
    traces.begin("a", "r", "t", "f", 0, ["a"])
    assert traces.append(first) == first
    assert traces.append(other) == first


def test_replay_of_functions_and_what_differs():
    traces, said = Traces(), iter("abcdef")
    team = desk(role("write", lambda g: next(said)))
    team.ask("refund", traces, id="x")
    (old, new), (then, now) = replay(team, traces, "x")
    assert (old.content, new.content) == ({"reply": "a"}, {"reply": "b"})
    assert (then.text, now.text) == ("a", "b")
    end = iter(["one", "two"])
    other = Team("t", list(team.roles.values()), lambda exchange: {"answer": next(end)})
    other.ask("refund", traces, id="y")
    assert [(old.text, new.text) for old, new in replay(other, traces, "y")] == [("one", "two")]
    assert replay(desk(), *_asked(desk())) == []
    with pytest.raises(TeamError, match="recorded of another team or seed"):
        replay(desk(seed=1), traces, "x")


def _asked(team):
    traces = Traces()
    team.ask("delivery", traces, id="x")
    return traces, "x"


def test_an_id_belongs_to_one_request_and_one_team(tmp_path):
    traces = Traces(tmp_path / "t.sqlite")
    desk().ask("refund", traces, id="x")
    with pytest.raises(TeamError, match="the id 'x' belongs to another request"):
        desk().ask("delivery", traces, id="x")
    with pytest.raises(TeamError, match="the id 'x' belongs to another team or seed"):
        desk(seed=9).ask("refund", traces, id="x")
    assert desk().ask("refund", traces, id="x").outcome == "answered"
    with pytest.raises(TeamError, match=r"t\.sqlite: no exchange 'y'"):
        traces.trace("y")


def test_search(tmp_path):
    def writes(given):
        if "7" in given["request"]:
            raise RuntimeError
        return f'"{given["request"]}" — done'

    traces = Traces(tmp_path / "t.sqlite")
    middle = None
    for i in range(10):
        desk(role("write", writes, input=["request", "intent"])).ask(f"refund {i}", traces, id=str(i))
        middle = time.time() if i == 4 else middle
    ids = lambda **asked: [trace.id for trace in traces.search(**asked)]  # noqa: E731
    assert ids() == [str(i) for i in range(10)]
    assert ids(outcome="refused") == ids(outcome="failed") == ids(role="write", outcome="failed") == ["7"]
    assert ids(text="REFUND 3") == ["3"]
    assert ids(text='"refund 3" — done', role="write") == ["3"]
    assert ids(text="done", role="understand") == []
    assert ids(role="nobody") == []
    assert ids(since=middle) == ["5", "6", "7", "8", "9"]
    assert ids(until=middle, most=2) == ["3", "4"]


def test_a_text_is_found_where_it_was_said_alone():
    """Names of fields and roles, labels that were not chosen, and what a role was given have not been said."""
    traces, scores = Traces(), {"good": -0.1, "bad": -2.3}
    judge = role("judge", lambda g: Reply({"verdict": "good"}, scores), {"verdict": ["good", "bad"]}, input=["reply"])
    tags = role("tags", lambda g: {"tags": ['a "b"', "Ä 12"], "count": 12}, {"tags": "list", "count": "number"})
    desk(judge, tags, steps=["write", "judge", "tags"]).ask("my refund", traces, id="x")
    found = lambda text, role=None: len(traces.search(text=text, role=role))  # noqa: E731
    assert [found(text) for text in ("bad", "verdict", "said", "judge", "scores", "-2.3")] == [0] * 6
    assert found("refund", "judge") == 0, "it was given that, and did not say it"
    assert [found("GOOD", "judge"), found('a "b"', "tags"), found("12", "tags")] == [1] * 3
    assert [found("Ä"), found("my refund"), found("refund", "write")] == [1] * 3


def test_export_with_the_names_of_the_conventions():
    reply = Reply("Done.", prompt_ids=(1, 2), ids=(3,), log_probabilities=(-0.5,), read=2, written=1)
    traces = Traces()
    desk(role("write", lambda g: reply)).ask("refund <b>", traces, id="x")
    whole, understand, write = (json.loads(line) for line in jsonl(traces.search()))
    assert whole["name"] == "invoke_workflow desk"
    assert (understand["name"], write["name"]) == ("invoke_agent understand", "invoke_agent write")
    assert {span["trace_id"] for span in (whole, understand, write)} == {whole["trace_id"]}
    assert {understand["parent_span_id"], write["parent_span_id"]} == {whole["span_id"]}
    assert (len(whole["trace_id"]), len(write["span_id"])) == (32, 16)
    said = write["attributes"]
    assert (said["gen_ai.operation.name"], said["gen_ai.agent.name"]) == ("invoke_agent", "write")
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (2, 1)
    assert (said["transfuse.token_ids"], said["transfuse.log_probabilities"]) == ([3], [-0.5])
    assert json.loads(said["gen_ai.output.messages"])[0]["parts"][0]["content"] == '{"reply":"Done."}'
    assert json.loads(whole["attributes"]["gen_ai.input.messages"])[0]["parts"][0]["content"] == "refund <b>"
    assert write["end_time_unix_nano"] >= write["start_time_unix_nano"]


def test_a_refusal_and_a_failure_are_errors():
    traces = Traces()
    desk(role("write", lambda g: None)).ask("refund", traces)
    whole, _, write = (json.loads(line) for line in jsonl(traces.search()))
    assert (whole["status"]["code"], write["status"]["code"]) == ("ERROR", "ERROR")
    assert write["attributes"]["error.type"] == "broke its contract"


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "t.sqlite").write_text("no data base at all, but text")
    with pytest.raises(OutputError, match=r"t\.sqlite: cannot be written: file is not a database"):
        Traces(tmp_path / "t.sqlite")
