"""A team learns from its own traces, and says what that was worth."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import toy
from teams.desk import desk

from transfuse.errors import DataError, RecipeError, TeamError
from transfuse.teams import Limits, OnFailure, Team, Traces
from transfuse.teams.learning import BEFORE, OWN, REJECTION, SHARED, Asked, _Run, learn, verdicts
from transfuse.teams.lessons import fit, lessons_of
from transfuse.teams.message import USER
from transfuse.teams.outcomes import matches
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.sampling import in_order, sampled, warmed
from transfuse.teams.training import train

TEXTS = toy.examples(16, seed=1).texts
SETTINGS = {"epochs": 4, "rank": 2, "learning_rate": 1e-2}
LEARN = 'learn: {selects: {matches: "^[a-m]"}, grades: {matches: "[a-m]"}}'


@pytest.fixture
def here(tmp_path):
    with (tmp_path / "requests.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["request"], *([text] for text in TEXTS)])
    write(tmp_path)
    return tmp_path


def write(folder, learn: str = LEARN, steps: str = "draft, final") -> None:
    (folder / "team.yaml").write_text(
        f'backbone: "{toy.backbone("taught").folder}"\n'
        "roles:\n"
        "  draft: {input: [request], output: {draft: text}, max_new_tokens: 3}\n"
        "  final: {input: [draft], output: {reply: text}, max_new_tokens: 3}\n"
        f"protocol: {{pipeline: [{steps}]}}\n{learn}\n"
    )


def a_run(here):
    return _Run(
        TeamRecipe.from_file(here / "team.yaml"), here, matches("."), 0.5, REJECTION, {}, {}, 0, lambda text: None
    )


def ask(here, **other):
    return learn(here, str(here / "requests.csv"), temperature=0.8, settings=SETTINGS, **other)


def test_roles_learn_what_is_accepted(here):
    told = []
    record = ask(here, note=told.append)
    assert record == json.loads((here / "learning.json").read_text())
    assert record["rounds"][0]["traces"] == 4 * 12
    assert all(counts["pairs"] > 0 for counts in record["rounds"][0]["roles"].values())
    shares = {name: found["accepted"] for name, found in record["outcomes"].items()}
    assert list(shares) == [BEFORE, OWN, SHARED]
    assert shares[OWN] > shares[BEFORE]
    assert [(one["a"], one["b"]) for one in record["compared"]] == [(OWN, BEFORE), (SHARED, BEFORE), (OWN, SHARED)]
    assert all(one["difference"]["low"] <= one["difference"]["high"] for one in record["compared"])
    assert record["uses"] in (OWN, SHARED)
    learnt = Team.load(here / "learnt" / "team.yaml")
    assert np.mean([answer.text[:1] <= "m" for answer in learnt.ask_all(TEXTS)]) > 0.7
    told.clear()
    assert ask(here, note=told.append) == record
    assert not [text for text in told if "train" in text], "what is there is not trained again"


def test_what_a_role_was_trained_on_is_learnt_again(here, monkeypatch):
    """By the settings of its training, beside its traces; the rows may stand anywhere."""
    (here / "rows.csv").write_text("request,draft\n" + "".join(f"{text},a\n" for text in TEXTS[:5]))
    lora = "{data: rows.csv, method: {lora: {rank: 3, epochs: 1, learning_rate: 0.01}}}"
    text = (here / "team.yaml").read_text().replace("draft: {", f"draft: {{train: {lora}, ")
    train(TeamRecipe.from_text(text, here, "team.yaml"), here / "out")
    given = []

    def seen(lessons, speakers, places, settings, *rest):
        given.append((lessons, settings))
        return fit(lessons, speakers, places, settings, *rest)

    monkeypatch.setattr("transfuse.teams.learning.fit", seen)
    monkeypatch.chdir(here)
    record = learn(here / "out", "requests.csv", settings={"epochs": 2})
    counts = record["rounds"][0]["roles"]
    assert [counts[role]["rows"] for role in ("draft", "final")] == [5, 0]
    lessons, settings = given[0]
    assert settings["draft"] == {"rank": 3, "epochs": 2, "learning_rate": 0.01}
    assert settings["final"] == {"epochs": 2}
    assert record["settings"] == settings
    assert [answer for _, answer in lessons["draft"].pairs[:5]] == ["a"] * 5
    assert len(lessons["draft"].pairs) <= 5 + counts["draft"]["pairs"]
    assert learn(here / "out", "requests.csv", settings={"epochs": 2}) == record
    assert len(given) == 2, "one adapter a role and one for all, each trained once"


def test_of_several_drafts_one_is_learnt(here):
    """Everything is accepted, so that an exchange of four drafts teaches one."""
    judge = "  j: {input: [reply], output: {verdict: [good, bad]}}\n"
    text = (here / "team.yaml").read_text().replace("protocol", f"{judge}protocol")
    text = text.replace("[draft, final]", "[draft, {best_of: {drafts: final, judge: j, n: 4}}]")
    (here / "team.yaml").write_text(text)
    run, team, asked = a_run(here), Team.load(here / "team.yaml"), Asked(TEXTS, ({},) * len(TEXTS))
    traces = run.traces(0, team, asked, 1, 3.0)
    lesson = run.lessons({}, traces, [np.ones(1)] * len(TEXTS), team)["final"]
    shown = [text for text, _ in lesson.pairs]
    assert len(shown) == len(set(shown)) > 1


@pytest.mark.parametrize("how", ["rejection", "values"])
def test_what_stands_in_is_nobodys_answer(here, how):
    """The fixed sentence would please both checks; one turn lets nobody answer."""
    write(here, 'limits: {turns: 1}\non_failure: {answer: "fine"}\n' + LEARN)
    with pytest.raises(DataError, match=r"no trace has an outcome of 0\.5 or more; the best one has 0\.00"):
        ask(here, samples=2, how=how)


def test_what_stands_in_is_graded_as_nothing(here):
    (found,) = a_run(here).answered(
        desk(on_failure=OnFailure(answer="fine"), limits=Limits(turns=1)), Asked(("r",), ({},))
    )
    assert (found.answer, found.content) == ("", {})


def test_values_feed_fine_tuning_and_preferences(here):
    record = ask(here, how="values", rounds=2, seed=1)
    first, second = (one["roles"] for one in record["rounds"])
    assert second["draft"]["pairs"] > first["draft"]["pairs"], "what earlier rounds have found stays"
    roles = first
    assert all(roles[name]["preferences"] > 0 for name in ("draft", "final"))
    assert record["outcomes"][OWN]["accepted"] > record["outcomes"][BEFORE]["accepted"]


def test_half_of_the_samples_branch_off_from_others(here):
    team = warmed(Team.load(here / "team.yaml"), 1.0)
    store = Traces()
    (found,) = sampled(team, TEXTS[:1], store, 4)
    drafts, finals = ([m.content for t in found for m in t.messages if m.sender == role] for role in ("draft", "final"))
    assert (drafts[2], drafts[3]) == (drafts[0], drafts[1]), "they keep the first turn"
    assert len(finals) == 4
    assert found[0].messages[-1].seed != found[2].messages[-1].seed, "and go on by another seed"
    assert [m.sender for m in found[2].messages] == [USER, "draft", "final"]
    count = len(store)
    assert sampled(team, TEXTS[:1], store, 4) == [found]
    assert len(store) == count, "what is there is not asked again"


@pytest.mark.parametrize("given", ["[request, draft]", "null"])
def test_what_is_learnt_is_what_was_shown(here, given):
    """Token by token, though the store sorts the fields of a message."""
    text = (here / "team.yaml").read_text().replace("final: {input: [draft]", f"final: {{input: {given}")
    (here / "team.yaml").write_text(text)
    team = Team.load(here / "team.yaml")
    ((trace,),) = sampled(team, TEXTS[:1], Traces(), 1)
    speaker = team.roles["final"].speaker
    lesson = lessons_of("final", [[(in_order(trace.messages, team.roles), 1.0)]], speaker, 0.5, values=False)
    ((text, _),) = lesson.pairs
    path = speaker.path
    (ids,) = path.backbone.requests(path.form, [text], path.limit)
    assert tuple(ids) == trace.messages[-1].prompt_ids
    assert text.index("<request>") < text.index("<draft>")


def test_an_expected_zero_is_no_empty_cell(tmp_path):
    rows = [{"request": "1 - 1", "answer": 0, "names": ["a", "b"]}, {"request": "?", "answer": None, "names": []}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = Asked.read("rows.jsonl", tmp_path)
    assert found.expected == ({"answer": "0", "names": "a, b"}, {"answer": "", "names": ""})


def test_what_grades_chooses_nothing():
    graded = {BEFORE: np.zeros(8), OWN: np.ones(8), SHARED: np.zeros(8)}
    liked = {BEFORE: np.zeros(8), OWN: np.zeros(8), SHARED: np.ones(8)}
    found = verdicts(graded, liked, 0.5, 0)
    assert (found["uses"], found["compared"][0]["verdict"]) == (SHARED, "helps")
    assert verdicts({**graded, BEFORE: np.ones(8)}, liked, 0.5, 0)["uses"] == BEFORE, "it is shown to hurt"
    assert verdicts(graded, graded, 0.5, 0)["uses"] == OWN


@pytest.mark.parametrize(
    ("section", "error", "said"),
    [
        ("seed: 0", RecipeError, "no `learn`"),
        ("learn: {selects: numbers, grades: numbers}", TeamError, "'numbers' both selects traces and grades the team"),
        ("learn: {selects: numbers, grade: equals}", RecipeError, "line 6, key 'learn.grade': unknown key. Did you me"),
        ("learn: {selects: numbrs, grades: equals}", RecipeError, "line 6, key 'learn.selects': found 'numbrs'"),
        ('learn: {selects: {matches: "^$"}, grades: equals}', DataError, "no trace has an outcome of 0.5 or more"),
    ],
)
def test_what_is_refused(here, section, error, said):
    write(here, section)
    with pytest.raises(error) as raised:
        ask(here, samples=1)
    assert said in str(raised.value)
