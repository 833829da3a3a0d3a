"""The loops of docs/teams.md run, with plain functions in the place of the models and a stand-in for a service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from teams.agent_stand_in import AgentStandIn
from teams.desk import desk, role

from transfuse.teams import Team, Traces

DOCS = Path(__file__).parents[2] / "docs"
PAGES = pytest.mark.parametrize("page", ["teams.md", "teams.zh-CN.md"])
REQUESTS = ["Where is my parcel?", "I want my money back."]
REPLIES = ["It comes on Friday.", "A colleague will answer you."]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The requests that came to the team which every loop loads; one of them makes its writer fail."""
    seen = []

    def writes(given):
        seen.append(given["request"])
        if "money" in given["request"]:
            raise RuntimeError("no money")
        return "It comes on Friday."

    team = desk(role("write", writes, input=["request", "intent"]))
    monkeypatch.setattr(Team, "load", staticmethod(lambda path: team))
    monkeypatch.chdir(tmp_path)
    return seen


def shown(page: str, sign: str) -> str:
    """The code of a page that holds a sign."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if sign in block]
    return found


def run(code: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "shown"}
    exec(code, names)
    return names


@PAGES
def test_a_plain_loop_asks_each_request_once(page, asked):
    for _ in range(2):
        assert run(shown(page, "for number, request"))["replies"] == REPLIES
    assert asked == REQUESTS
    assert len(Traces("runs/support_desk/loop.sqlite")) == 2


@PAGES
def test_in_langgraph_what_is_refused_goes_another_way(page, asked):
    pytest.importorskip("langgraph.graph", reason="pip install langgraph")
    for _ in range(2):
        assert run(shown(page, "from langgraph"))["replies"] == REPLIES
    assert asked == REQUESTS
    assert len(Traces("runs/support_desk/graph.sqlite")) == 2


@PAGES
@pytest.mark.parametrize("request_", REQUESTS)
def test_in_the_agents_sdk_the_team_is_a_tool(page, request_, asked, monkeypatch):
    pytest.importorskip("agents", reason="pip install openai-agents")
    code = shown(page, "from agents").replace(REQUESTS[0], request_)
    with AgentStandIn() as service:
        service.use(monkeypatch)
        reply = run(code)["reply"]
    refused = "money" in request_
    said = "The team cannot answer: role 'write' raised RuntimeError: no money." if refused else REPLIES[0]
    assert reply == f"The desk says: {said}"
    assert asked == [request_]
    assert [call["model"] for call in service.calls] == ["gpt-4.1-mini", "gpt-4.1-mini"]
    (tool,) = service.calls[0]["tools"]
    assert tool["function"]["name"] == "support_desk"
    assert "the request is in the customer's own words" in tool["function"]["description"]
    assert service.paths == ["/v1/chat/completions"] * 2, "nothing else was sent"
    assert len(Traces("runs/support_desk/tool.sqlite")) == 1
