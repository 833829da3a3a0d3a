"""transfuse team run and team trace, through the command line."""

from __future__ import annotations

import json
import re

import pytest
from teams.desk import desk, role

import transfuse.teams
from transfuse.teams import Reply, Team, Traces

LONG = "We are sorry that it is late, and we have asked the courier where your parcel is; it comes soon. " * 3


@pytest.fixture
def team(monkeypatch):
    """Every file is the desk, and `write` fails for a seven."""

    def writes(given):
        if "seven" in given["request"]:
            raise RuntimeError("no seven")
        return f"\x1b[31m{LONG}" if "long" in given["request"] else f"About your {given['intent']}."

    understands = role(
        "understand",
        lambda g: Reply({"intent": "refund"}, {"refund": -0.1, "other": -2.4}),
        {"intent": ["refund", "other"]},
    )
    made = desk(understands, role("write", writes, input=["request", "intent"]))
    monkeypatch.setattr(Team, "load", staticmethod(lambda path: made))
    return made


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_conversation_through_a_pipe_in_80_columns(command, team, here):
    outcome = command("team", "run", "t.yaml", stdin=b"my refund\n\na long one\nseven\n")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [line.split()[0] for line in lines[:4]] == ["you", "understand", "write", "desk"]
    assert re.match(r"understand +refund +90%, 0\.\d s$", lines[1])
    assert re.match(r"write +About your refund\. +0\.\d s$", lines[2])
    assert "\x1b" not in outcome.out, "what a model says does not colour the terminal"
    assert "failed: raised RuntimeError: no seven" in outcome.out
    assert "The team cannot answer: role 'write' raised" in outcome.out
    assert "3 requests: 2 answered, 1 refused. Traces: runs/desk/traces.sqlite" in outcome.err
    assert len(Traces("runs/desk/traces.sqlite")) == 3


def test_requests_as_arguments_and_answers_as_json(command, team, here):
    outcome = command("team", "run", "t.yaml", "my refund", "seven", "--json", "--traces", "x.sqlite")
    first, second = map(json.loads, outcome.out.splitlines())
    assert (first["outcome"], first["answer"]) == ("answered", {"reply": "About your refund."})
    assert (second["outcome"], second["answer"]) == ("refused", None)
    assert second["reason"].startswith("role 'write' raised")


def test_traces_are_listed_found_shown_and_exported(command, team, here):
    command("team", "run", "t.yaml", "my refund", "seven", "--traces", "x.sqlite")
    listed = command("team", "trace", "x.sqlite").out.splitlines()
    assert listed[0].split() == ["id", "began", "outcome", "request"]
    assert [line.split()[3] for line in listed[1:]] == ["answered", "refused"]
    found = command("team", "trace", "x.sqlite", "--role", "write", "--outcome", "failed").out.splitlines()
    assert len(found) == 2
    shown = command("team", "trace", "x.sqlite", found[1].split()[0]).out
    assert "no seven" in shown
    exported = command("team", "trace", "x.sqlite", "--export", "-").out.splitlines()
    assert {json.loads(line)["name"] for line in exported} == {
        "invoke_workflow desk",
        "invoke_agent understand",
        "invoke_agent write",
    }
    assert command("team", "trace", "x.sqlite", "--export", "spans.jsonl").code == 0
    assert (here / "spans.jsonl").read_text(encoding="utf-8").splitlines() == exported


def test_replay_says_whether_it_is_the_same(command, team, here, monkeypatch):
    command("team", "run", "t.yaml", "my refund", "--traces", "x.sqlite")
    assert command("team", "trace", "x.sqlite", "--replay", "t.yaml").out == "1 exchanges: the same, byte for byte.\n"
    changed = desk(team.roles["understand"], role("write", lambda g: "x", input=["request", "intent"]))
    changed.__class__ = type("Same", (Team,), {"fingerprint": team.fingerprint})
    monkeypatch.setattr(Team, "load", staticmethod(lambda path: changed))
    outcome = command("team", "trace", "x.sqlite", "--replay", "t.yaml")
    assert (outcome.code, "differs in messages 2 and in its answer" in outcome.err) == (10, True)


def test_replay_names_what_it_cannot_run_again_and_goes_on(command, team, here):
    store = Traces("x.sqlite")
    store.begin("cut", "my refund", "desk", team.fingerprint, 0, ["cut"])
    store.begin("old", "my refund", "desk", "of another file", 0, ["old"])
    store.close()
    nothing = command("team", "trace", "x.sqlite", "--replay", "t.yaml")
    assert (nothing.code, "exchange 'cut': not ended" in nothing.err) == (10, True)
    command("team", "run", "t.yaml", "my refund", "--traces", "x.sqlite")
    outcome = command("team", "trace", "x.sqlite", "--replay", "t.yaml")
    assert (outcome.code, outcome.out) == (0, "1 exchanges: the same, byte for byte.\n")
    assert outcome.err.splitlines()[-2:] == [
        "exchange 'cut': not ended; not run again",
        "exchange 'old': recorded of another team or seed; not run again",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("trace", "no.sqlite"), 10, "no.sqlite: no such file"),
        (("trace", "x.sqlite", "--outcome", "bad"), 2, "--outcome bad: unknown"),
        (("trace", "x.sqlite", "--since", "tomorrow"), 2, "'tomorrow': no date"),
        (("trace", "x.sqlite", "abc"), 10, "x.sqlite: no exchange 'abc'"),
    ],
)
def test_what_cannot_be_traced(command, here, arguments, code, said):
    Traces("x.sqlite").close()
    outcome = command("team", *arguments)
    assert (outcome.code, said in outcome.err) == (code, True), outcome.err


def test_a_team_that_cannot_be_read(command, here):
    (here / "t.yaml").write_text("roles: {write: {output: {reply: text}}}\nprotocol: {pipeline: [wrote]}\n")
    outcome = command("team", "run", "t.yaml", "hello")
    assert outcome.code == 3
    assert "t.yaml, line 2, key 'protocol.pipeline[0]': no role 'wrote'. Did you mean 'write'?" in outcome.err


def test_the_names_of_the_room():
    assert all(hasattr(transfuse.teams, name) for name in transfuse.teams.__all__)
