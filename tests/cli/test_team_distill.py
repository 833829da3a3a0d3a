"""transfuse team distill, and the one model beside its team by transfuse team evaluate."""

from __future__ import annotations

import csv
import json

import pytest
import toy
from teams.models import chooses, write_team

TEAM = """
name: desk
backbone: "{backbone}"
roles:
  understand: {{model: understand, input: [request], output: {{kind: labels}}}}
  write: {{instructions: "Be kind.", input: [request, kind], output: {{reply: text}}, max_new_tokens: 6}}
protocol: {{pipeline: [understand, write]}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = TEAM.format(backbone=toy.backbone("taught").folder)
    write_team(tmp_path / "desk", text, understand=chooses(("warm", "cold"), 1, layer=2))
    for name, seed in (("requests", 1), ("rows", 2)):
        data = toy.examples(8, seed=seed)
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("request", "reply"), *zip(data.texts, data.labels, strict=True)])
    return tmp_path


def test_one_model_out_of_a_team_is_compared_with_it(command, here):
    call = ("team", "distill", "desk/team.yaml", "requests.csv", "--out", "one", "--epochs", "1")
    outcome = command(*call)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "8 requests: 8 answered",
        "one model: lora on 8 answers. one/distilled.json",
        "transfuse team evaluate desk/team.yaml ROWS --baseline one --out FOLDER",
    ]
    assert "ask the team: 8 / 8 ..." in outcome.err
    assert "train on 8 answers ..." in outcome.err
    again = command(*call)
    assert (again.code, again.out) == (0, outcome.out)
    assert "train" not in again.err
    assert command("predict", "one", "red fire").code == 0
    outcome = command(*outcome.out.splitlines()[-1].replace("ROWS", "rows.csv").replace("FOLDER", "both").split()[1:])
    assert outcome.code == 0, outcome.err
    report = json.loads((here / "both" / "report.json").read_text(encoding="utf-8"))
    figures = {one["name"]: one for one in report["figures"]}
    assert figures["one"]["team_against_it"]["verdict"] in ("helps", "no evidence", "hurts")


def test_what_is_refused(command, here):
    (here / "bare.yaml").write_text("roles: {a: {output: {b: text}, model: desk}}\nprotocol: {pipeline: [a]}\n")
    outcome = command("team", "distill", "bare.yaml", "requests.csv", "--out", "x")
    assert outcome.code == 2
    assert "bare.yaml: no `backbone`, and none was given" in outcome.err
    outcome = command("team", "distill", "desk/team.yaml", "requests.csv", "--out", "x", "--method", "lorra")
    assert outcome.code == 3
    assert "no method 'lorra' for a role that writes" in outcome.err
    assert "Traceback" not in outcome.err
