"""One model out of a team: it says what the team says, of requests that neither was asked; what is left out; again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import toy

from transfuse.errors import DataError, RecipeError
from transfuse.fitted import load
from transfuse.teams import Limits, Role, Team, protocol
from transfuse.teams.baselines import one_model
from transfuse.teams.distilling import MODEL, PAIRS, distill

LEARNT, OTHER = toy.examples(48, seed=1).texts, toy.examples(24, seed=2).texts
COLD = toy.WORDS["cold"]


def mood(given):
    return "cold" if given["request"].split()[0] in COLD else "warm"


def reply(given):
    if "0" in given["request"].split()[-1]:
        raise RuntimeError("no")
    return "no" if given["mood"] == "cold" else "yes"


def team(last: str = "reply") -> Team:
    roles = [Role.of("mood", mood, {"mood": ["warm", "cold"]}), Role.of("reply", reply, {"reply": "text"})]
    steps = ["mood", "reply"][: 2 if last == "reply" else 1]
    return Team("desk", roles, protocol("pipeline", steps=steps), limits=Limits(turns=4))


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr("transfuse.teams.training.precision.choose", lambda *_: {"precision": "fp32"})


def agreement(model, asked: Team) -> float:
    answers = asked.ask_all(OTHER)
    said = list(model.predict(OTHER))
    return float(np.mean([a.text == b for a, b in zip(answers, said, strict=True) if a.outcome == "answered"]))


def test_a_model_learns_to_write_what_a_team_answers(tmp_path):
    folder = str(toy.backbone("taught").folder)
    settings = {"rank": 4, "train_layers": "all", "learning_rate": 1e-2}
    untaught = distill(
        team(), LEARNT, folder, tmp_path / "no", settings={**settings, "epochs": 1, "learning_rate": 0.0}
    )
    made = distill(team(), LEARNT, folder, tmp_path / "out", settings={**settings, "epochs": 12})
    failed = sum("0" in text.split()[-1] for text in LEARNT)
    assert made["outcomes"] == {"refused": failed, "answered": 48 - failed}
    assert (made["method"], made["field"], made["pairs"]) == ("lora", "reply", 48 - failed)
    assert untaught["pairs"] == made["pairs"]
    rows = [json.loads(line) for line in (tmp_path / "out" / PAIRS).read_text().splitlines()]
    assert {row["reply"] for row in rows} == {"yes", "no"}
    model = load(tmp_path / "out" / MODEL)
    assert agreement(load(tmp_path / "no" / MODEL), team()) < 0.2
    assert agreement(model, team()) > 0.8
    alone = one_model(str(tmp_path / "out"), "reply", "text", team())
    assert [a.text for a in alone.ask_all(OTHER[:5])] == list(model.predict(OTHER[:5]))


def test_a_label_is_chosen_and_nothing_is_done_twice(tmp_path, monkeypatch):
    folder = str(toy.backbone("taught").folder)
    made = distill(team("mood"), [*LEARNT, *LEARNT], folder, tmp_path)
    assert (made["method"], made["field"], made["requests"]) == ("probe", "mood", 48)
    model = load(tmp_path / MODEL)
    assert model.labels == ("warm", "cold")
    assert agreement(model, team("mood")) > 0.8
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / MODEL).iterdir()}
    monkeypatch.setattr("transfuse.teams.team.Wave", None)  # no exchange is begun again
    monkeypatch.setattr("transfuse.teams.distilling.Engine", None)
    assert distill(team("mood"), LEARNT, folder, tmp_path) == made
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_is_refused(tmp_path):
    folder = str(toy.backbone("taught").folder)
    with pytest.raises(DataError, match=r"mail\.csv: team 'desk' has answered none of 1 requests: role 'reply' raised"):
        distill(team(), ["red 0"], folder, tmp_path, origin="mail.csv")
    both = Role.of("both", lambda given: {"a": "x", "b": "y"}, {"a": "text", "b": "text"})
    double = Team("double", [both], protocol("pipeline", steps=["both"]))
    with pytest.raises(DataError, match="which field is the team's answer"):
        distill(double, LEARNT[:2], folder, tmp_path)
    assert distill(double, LEARNT[:2], folder, tmp_path, field="b", method="lookup")["field"] == "b"
    with pytest.raises(RecipeError, match=r"as one model, .*: no method 'lorra' for a role that writes"):
        distill(team(), LEARNT, folder, tmp_path, method="lorra")
    with pytest.raises(RecipeError, match="backbone openai:m: a remote model, whose layers nobody here"):
        distill(team(), LEARNT, "openai:m", tmp_path)
