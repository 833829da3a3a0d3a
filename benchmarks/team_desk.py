"""A support desk of three trained roles: what it understands, what its replies are worth, and what it learns.

What has been measured is kept under runs/benchmarks/team_desk and not measured again: remove it to measure anew. A run
that was stopped goes on where it was, also within a part: roles and traces are kept.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import transfuse
from benchmarks import desk_data
from benchmarks.common import Parts, keep
from benchmarks.desk_source import borrowed
from transfuse.data.located import dump
from transfuse.evaluation import compare, metric_intervals
from transfuse.fitted import FittedModel
from transfuse.teams import Team
from transfuse.teams.baselines import lookup, one_model, untrained_roles
from transfuse.teams.building import build
from transfuse.teams.evaluation import evaluate
from transfuse.teams.labelled import LabelledRows, read_rows
from transfuse.teams.learning import ROUNDS, learn
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.safety import shown
from transfuse.teams.training import FILE, ROLES, placed, train

MINILM, SMOLLM = "catalog:minilm-l6", "catalog:smollm2-135m-instruct"
TEST, CREDIT = 112, 48
"""Requests that are answered by each team, and by those with a role or a field changed: waves of 16."""
TOKENS, SAMPLES, TEMPERATURE = 224, 2, 0.3
METRIC = "outcome"
TOLD = "You answer customers of an online shop. Where you do not know a name, a number or a link, write {{Its Name}}."
STUDY = f"""
version: 1
task: {{kind: classify, input: request, label: intent}}
target: {{train: understand.csv, test: intents.csv}}
backbones: ["{MINILM}"]
methods: [tfidf, centroid, probe, lora, finetune, {{finetune: {{train_layers: all}}}}]
budget: {{minutes: 30}}
"""
"""The ways to understand, of which the labels alone choose one; so many minutes that none of them is left out."""
WRITER: dict[str, Any] = {"lora": {"epochs": 6}}
"""As many passes as were chosen on other replies of the same data, see `replies`."""
JUDGE: dict[str, Any] = {"finetune": {"train_layers": 2, "epochs": 3}}
LEARN = {
    "selects": ["numbers", {"judge": "judge"}],
    "grades": {"classifier": f"judges/{ROLES}/grades", "label": "good", "reads": "both"},
}


def run() -> None:
    """All parts, one after another; each is kept as soon as it is there."""
    started = time.perf_counter()
    parts = Parts("team_desk")
    desk_data.write(parts.place, TEST)
    replies = desk_data.rows()["known"]
    known = {"shots": desk_data.SHOTS, "intents": len({row.intent for row in replies}), "replies": len(replies)}
    told: dict[str, Any] = {"known": known, "test_rows": TEST, "credit_rows": CREDIT}
    work = {
        "study": (_study,),
        "trained": (_train,),
        "intents": (_intents,),
        "source": (borrowed,),
        "replies": (_replies,),
        "learning": (_learn,),
        "learnt": (_learnt,),
        "credit": (_credit,),
    }
    for name, (function,) in work.items():
        told[name] = parts.part(name, function, parts.place)
        keep("team_desk", "python -m benchmarks team_desk", started, **told, **parts.made)


def _study(place: Path) -> dict[str, Any]:
    """What a study inside the labels chooses for understanding; its own test is read once, for the chosen method."""
    transfuse.run(transfuse.Recipe.from_text(STUDY, place, "understand"), out=place / "study")
    report = json.loads((place / "study" / "report.json").read_text(encoding="utf-8"))
    (chosen,) = [c for c in report["candidates"] if c["id"] == report["chosen"]]
    found = [
        {key: c.get(key) for key in ("id", "method", "status", "reason")}
        | {"accuracy": (c.get("validation") or {}).get("accuracy")}
        for c in report["candidates"]
    ]
    return {
        "candidates": found,
        "chosen": report["chosen"],
        "method": {chosen["method"]: chosen["settings"]},
        "test": report["test"]["accuracy"],
        "no_transfer": report["no_transfer"]["accuracy"],
        "seconds": report["seconds"],
    }


def desk(method: Any) -> dict[str, Any]:
    """The team's file."""
    roles = {
        "understand": {
            "model": MINILM,
            "input": ["request"],
            "output": {"intent": "labels"},
            "train": {"data": "understand.csv", "method": method},
        },
        "write": _writer(["request", "intent"]),
        "judge": {
            "model": MINILM,
            "input": ["request", "reply"],
            "output": {"verdict": ["good", "bad"]},
            "train": {"data": "judge.csv", "method": JUDGE},
        },
    }
    steps = ["understand", {"draft_judge_revise": {"drafts": "write", "judge": "judge"}}]
    return {**_file("desk", SMOLLM, roles, steps), "learn": LEARN}


def _file(name: str, backbone: str, roles: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
    limits = {"turns": 8, "seconds": 900}
    told = {"version": 1, "name": name, "backbone": backbone, "roles": roles}
    return {**told, "protocol": {"pipeline": steps}, "limits": limits}


def _writer(given: list[str]) -> dict[str, Any]:
    return {
        "instructions": TOLD,
        "input": given,
        "output": {"reply": "text"},
        "temperature": TEMPERATURE,
        "max_new_tokens": TOKENS,
        "train": {"data": "write.csv", "method": WRITER},
    }


def single() -> dict[str, Any]:
    """One model end to end, told the same and trained on the same replies."""
    alone = {**_writer(["request"]), "temperature": 0}
    return _file("single", SMOLLM, {"write": alone}, ["write"])


def judges() -> dict[str, Any]:
    """Classifiers that no role uses, of replies that no role has seen; `writes` only says what an answer is."""
    sorts = {"input": ["answer"], "output": {"intent": "labels"}, "train": {"data": "sorts.csv", "method": "probe"}}
    grades = {
        "input": ["request", "answer"],
        "output": {"verdict": ["good", "bad"]},
        "train": {"data": "grades.csv", "method": JUDGE},
    }
    roles = {"sorts": sorts, "grades": grades, "writes": {"output": {"answer": "text"}}}
    return _file("judges", MINILM, roles, ["sorts"])


def _train(place: Path) -> dict[str, Any]:
    """`transfuse team train` of the team, of the one model and of the judges."""
    method = json.loads((place / "study.json").read_text(encoding="utf-8"))["found"]["method"]
    told = {}
    for name, plain in {"judges": judges(), "team": desk(method), "single": single()}.items():
        began = time.perf_counter()
        record = train(TeamRecipe.from_text(json.dumps(plain), place, name), place / name, note=_say)
        rows = {role: {"method": found["method"], "rows": found["rows"]} for role, found in record["roles"].items()}
        told[name] = {"roles": rows, "seconds": round(time.perf_counter() - began, 1)}
    return told


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}   {text}", flush=True)


def _model(folder: Path) -> FittedModel:
    model = transfuse.load(folder)
    assert isinstance(model, FittedModel)
    return model


def _intents(place: Path) -> dict[str, Any]:
    """The role against a probe that learnt the same labels; the judges on replies that they have not seen."""
    rows = desk_data.rows()
    test, known = rows["test"], desk_data.shots(rows["known"], desk_data.SHOTS)
    probe = transfuse.TransferClassifier(backbone=MINILM, method="probe").fit(
        *zip(*[r[:2] for r in known], strict=True)
    )
    role = _model(place / "team" / ROLES / "understand")
    texts = [row.request for row in test]
    told = _beside([row.intent for row in test], role, role.predict_proba(texts), probe.predict_proba(texts))
    sorts, judge = (_model(place / of) for of in (f"judges/{ROLES}/sorts", f"team/{ROLES}/judge"))
    pairs = desk_data.pairs(test[: 2 * TEST])
    said = judge.predict([shown({"request": request, "reply": reply}) for request, reply, _ in pairs])
    read = sorts.predict([row.reply for row in test])
    return {
        **told,
        "rows": len(test),
        "sorts": _share([a == row.intent for a, row in zip(read, test, strict=True)]),
        "judge": _share([a == verdict for a, (*_, verdict) in zip(said, pairs, strict=True)]),
    }


def _beside(expected: list[str], role: FittedModel, found: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Accuracy of the role and of the probe, and the paired difference."""
    truth = np.array([role.labels.index(label) for label in expected])
    figures = [metric_intervals(truth, p, seed=0, names=["accuracy"])["accuracy"].to_dict() for p in (found, other)]
    return {"role": figures[0], "probe": figures[1], "compared": compare(truth, found, other, seed=0).to_dict()}


def _share(hits: Sequence[bool]) -> dict[str, object]:
    """A share with its interval."""
    right = np.array([[not hit, hit] for hit in hits], dtype=np.float64)
    return metric_intervals([1] * len(right), right, seed=0, names=["accuracy"])["accuracy"].to_dict()


def _team(place: Path) -> tuple[TeamRecipe, Team, LabelledRows, FittedModel]:
    """The trained team, its tests, and the classifier that judges its replies."""
    recipe = TeamRecipe.from_file(place / "team" / FILE)
    team = build(recipe)
    return recipe, team, read_rows(str(place / "test.csv"), team), _model(place / "judges" / ROLES / "sorts")


def _note(name: str, done: int, of: int) -> None:
    _say(f"{name}: {done} / {of}")


def _replies(place: Path) -> dict[str, Any]:
    """`transfuse team evaluate` beside the one model, the nearest known reply and the team untrained."""
    recipe, team, rows, judge = _team(place)
    known = read_rows(str(place / "write.csv"), team)
    others = {
        "one model, trained": one_model(str(place / "single" / ROLES / "write"), "reply", "text", team),
        "the nearest known reply": lookup(known, rows, "reply", "text", team),
    }
    untrained, _ = untrained_roles(team, recipe)
    given = {"baselines": others, "untrained": untrained, "credit": False, "folder": place / "traces"}
    return evaluate(team, rows, metric=METRIC, judge=judge, note=_note, **given)


def _credit(place: Path) -> dict[str, Any]:
    """What each role and each field is worth, on the first of the tests: what is known of these is not asked again."""
    recipe, team, rows, judge = _team(place)
    some = dataclasses.replace(
        rows,
        requests=rows.requests[:CREDIT],
        fields={name: values[:CREDIT] for name, values in rows.fields.items()},
        rows=rows.rows[:CREDIT],
    )
    untrained, _ = untrained_roles(team, recipe)
    given = {"untrained": untrained, "folder": place / "traces"}
    return evaluate(team, some, metric=METRIC, judge=judge, note=_note, **given)["credit"]


def _learn(place: Path) -> dict[str, Any]:
    """`transfuse team learn`: one round of rejection sampling on requests without replies."""
    return learn(place / "team", str(place / "learn.csv"), samples=SAMPLES, note=_say)


def _learnt(place: Path) -> dict[str, Any]:
    """The team whose writer has learnt against the team as it was, whose answers are known, on the tests."""
    recipe, team, rows, judge = _team(place)
    writer = place / "team" / ROUNDS / "1" / "own" / "write"
    plain = placed(recipe, {"write": str(writer.resolve())})
    after = build(TeamRecipe.from_text(dump(plain), recipe.base, "learnt"))
    folder = place / "learnt"
    folder.mkdir(exist_ok=True)
    shutil.copy(place / "traces" / "team.sqlite", folder / "before.sqlite")
    given = {"baselines": {"before": team}, "credit": False, "folder": folder}
    return evaluate(after, rows, metric=METRIC, judge=judge, note=_note, **given)
