"""transfuse team train and team learn, through the command line."""

from __future__ import annotations

import csv

import toy


def test_a_team_is_trained_and_then_learns_from_its_traces(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = toy.examples(12, seed=1)
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("request", "reply"), *zip(data.texts, data.labels, strict=True)])
    (tmp_path / "team.yaml").write_text(
        f'backbone: "{toy.backbone("taught").folder}"\n'
        "roles:\n  reply:\n    input: [request]\n    output: {reply: text}\n    max_new_tokens: 3\n"
        "    train:\n      data: rows.csv\n"
        "      method: {lora: {rank: 2, epochs: 2, train_layers: 1}}\n      sources: [{data: rows.csv}]\n"
        "protocol: {pipeline: [reply]}\n"
        'learn: {selects: {matches: "."}, grades: equals}\n'
    )
    outcome = command("team", "train", "team.yaml", "--out", "out")
    assert outcome.code == 0, outcome.err
    assert "reply: lora, 12 rows" in outcome.out
    assert "data rows.csv: " in outcome.out
    assert outcome.out.splitlines()[-1] == "transfuse team run out/team.yaml"
    assert command("team", "run", "out/team.yaml", "x").code == 0
    options = ("--samples", "2", "--temperature", "0.8", "--epochs", "1")
    outcome = command("team", "learn", "out", "rows.csv", *options)
    assert outcome.code == 0, outcome.err
    assert "round 1: 18 traces, outcome 1.00; kept: reply " in outcome.out
    assert "one adapter a role against before: " in outcome.out
    assert "Best: before. out/learning.json" in outcome.out, "it pleased before already"
    assert command("team", "run", "out/learnt/team.yaml", "x").code == 0


def test_what_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("team", "train", "none.yaml")
    assert outcome.code == 3
    outcome = command("team", "learn", ".", "requests.csv")
    assert outcome.code == 3
    assert "Traceback" not in outcome.err
