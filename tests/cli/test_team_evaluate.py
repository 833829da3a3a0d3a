"""transfuse team evaluate at 80 columns, with tiny models: report, traces, a second call, and what is refused."""

from __future__ import annotations

import csv
import json

import pytest
from teams.models import chooses, write_team, writes

TEAM = """
name: desk
roles:
  understand: {model: understand, input: [request], output: {intent: labels}}
  write: {model: write, instructions: "Be kind.", input: [request, intent], output: {reply: text}, max_new_tokens: 6}
protocol: {pipeline: [understand, write]}
"""


def table(path, header, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("desk")
    models = {"understand": chooses(("refund", "other"), 1, layer=2), "write": writes(4, rank=2, tokens=6)}
    write_team(place, TEAM, **models)
    writes(5, tokens=6).save(place / "single" / "model")
    chooses(("refund", "other"), 9, layer=1).save(place / "judge")
    rows = [(f"the good number {i}", ("refund", "other")[i % 2], f"the good {i}") for i in range(5)]
    table(place / "rows.csv", ("request", "intent", "reply"), *rows)
    table(place / "train.csv", ("request", "reply"), ("a good thing", "the good"), ("bad", "the bad"))
    return place


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


CALL = ("team", "evaluate", "team.yaml", "rows.csv", "--baseline", "single", "--train", "train.csv", "--judge", "judge")


def test_a_team_beside_its_baselines(command, here):
    outcome = command(*CALL, "--out", "out", "--lang", "en")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.startswith("Who"))
    assert head.split() == ["Who", "chrF++", "Answered", "Time", "Team"]
    for name in ("the team", "single", "the nearest", "the same team"):
        assert any(line.startswith(name) for line in lines), name
    assert "Training “write” is worth" in outcome.out
    assert "That “write” is shown “intent” is worth" in outcome.out
    assert "The credits of the roles sum to" in outcome.out
    report = json.loads((here / "out" / "report.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in report["figures"]] == ["team", "single", "lookup", "untrained"]
    assert set(report["figures"][0]["metrics"]) == {"chrf", "numbers", "repetition", "fits", "outcome"}
    assert [one["name"] for one in report["credit"]["roles"]] == ["understand", "write"]
    assert report["credit"]["sum"].keys() == {"whole", "credits", "gap", "adds_up"}
    page = (here / "out" / "report.html").read_text(encoding="utf-8")
    assert 'class="flow"' in page
    assert "<script" not in page
    before = {path.name: path.read_bytes() for path in (here / "out").glob("report.*")}
    again = command(*CALL, "--out", "out", "--lang", "en")
    assert again.out == outcome.out
    assert {path.name: path.read_bytes() for path in (here / "out").glob("report.*")} == before


def test_in_chinese_without_credit(command, here):
    outcome = command("team", "evaluate", "team.yaml", "rows.csv", "--no-credit", "--out", "zh", "--lang", "zh")
    assert outcome.code == 0, outcome.err
    assert "同一团队，未训练" in outcome.out
    assert "训练“write”" not in outcome.out
    assert 'lang="zh-CN"' in (here / "zh" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--judge", "understand"), 2, "--judge understand: this model answers for the role 'understand'"),
        (("--judge", "write"), 2, "--judge write: a model of method 'lora' chooses no label"),
        (("--baseline", "nowhere"), 3, "no model in nowhere"),
        (("--baseline", "judge"), 3, "its model chooses one of refund, other"),
        (("--field", "replies"), 4, "no column of the field 'replies'. Did you mean 'reply'?"),
        (("--metric", "bleu"), 2, "metric 'bleu': rows.csv has no such score"),
        (("--train", "rows.csv"), 4, "5 of its requests stand in rows.csv, too"),
    ],
)
def test_what_is_refused_before_anything_is_asked(command, here, more, code, said):
    outcome = command("team", "evaluate", "team.yaml", "rows.csv", "--out", "refused", *more)
    assert outcome.code == code, outcome.err
    assert said in " ".join(outcome.err.split())
    assert not (here / "refused").exists()
