"""The loop of docs/teams.md runs, with plain functions in the place of the models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from teams.desk import desk, role

from transfuse.teams import Team, Traces

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["teams.md", "teams.zh-CN.md"])
def test_a_plain_loop_asks_each_request_once(page, tmp_path, monkeypatch):
    asked = []

    def writes(given):
        asked.append(given["request"])
        if "money" in given["request"]:
            raise RuntimeError("no money")
        return "It comes on Friday."

    team = desk(role("write", writes, input=["request", "intent"]))
    monkeypatch.setattr(Team, "load", staticmethod(lambda path: team))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    (loop,) = [block for block in blocks if "for number, request" in block]
    for _ in range(2):
        names: dict[str, object] = {}
        exec(loop, names)
        assert names["replies"] == ["It comes on Friday.", "A colleague will answer you."]
    assert asked == ["Where is my parcel?", "I want my money back."]
    assert len(Traces("runs/support_desk/loop.sqlite")) == 2
