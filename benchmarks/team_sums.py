"""Solver, verifier and refiner against one model that spends the same tokens, on problems with exact answers.

What has been measured is kept under runs/benchmarks/team_sums and not measured again: remove it to measure anew.
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Parts, keep
from benchmarks.sums import Problem, problems
from transfuse.backbones import loading
from transfuse.evaluation import metric_intervals
from transfuse.fitted.model import known
from transfuse.teams.building import build
from transfuse.teams.evaluation import Runs
from transfuse.teams.outcome_scores import Measure, Said, beside_each_other
from transfuse.teams.pupils import LIMIT, pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.team import Team
from transfuse.teams.training import FILE, ROLES, train

SMOLLM = "catalog:smollm2-135m-instruct"
FIRST, SECOND, TEST = 240, 240, 208
"""Problems that the solver learns from; those whose drafts the verifier and the refiner learn from; tests."""
EPOCHS, TOKENS, HEAT, MOST = 4, 8, 0.7, 7
"""Passes, tokens of an answer, the temperature of votes, and most voters."""
NUMBER = re.compile(r"-?\d+")
SOLVES = "Answer with the number alone."
REFINES = "A draft of the answer was judged. Answer with the right number alone."
TEAM, GREEDY, VOTES, SOLVER, MAJORITY = "team", "one model", "one model, votes", "solver alone", "solver, votes"


def run() -> None:
    """All parts, one after another."""
    started = time.perf_counter()
    parts = Parts("team_sums")
    told: dict[str, Any] = {"problems": [FIRST, SECOND, TEST]}
    for name, work in {"solver": _solver, "team": _team, "single": _single, "answers": _answers}.items():
        told[name] = parts.part(name, work, parts.place)
    keep("team_sums", "python -m benchmarks team_sums", started, **told, **parts.made)


def sets() -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Problems for the solver, for those that read its drafts, and tests; none stands twice."""
    every = problems(FIRST + SECOND + TEST, 0)
    return every[:FIRST], every[FIRST : FIRST + SECOND], every[FIRST + SECOND :]


def _write(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def _role(output: str, given: Sequence[str], told: str, data: str = "", epochs: int = EPOCHS) -> dict[str, Any]:
    role = {"instructions": told, "input": list(given), "output": {output: "text"}, "max_new_tokens": TOKENS}
    return {**role, "train": {"data": data, "method": {"lora": {"epochs": epochs}}}} if data else role


def _recipe(place: Path, name: str, roles: Mapping[str, Any], protocol: Mapping[str, Any]) -> TeamRecipe:
    limits = {"turns": 16, "seconds": 600}
    plain = {"name": name, "backbone": SMOLLM, "roles": roles, "protocol": protocol, "limits": limits}
    return TeamRecipe.from_text(json.dumps(plain), place, name)


def _trained_tokens(recipe: TeamRecipe) -> int:
    """Tokens of the rows of all writing roles that train, with their prompts, in all passes."""
    backbone = known(loading.load(SMOLLM))
    total = 0
    for name, role in recipe.roles.items():
        if role.train is None or "lora" not in role.train.chosen("")[0]:
            continue
        pupil = pupil_of(name, recipe, backbone)
        assert pupil.form is not None
        shown = pupil.form.requests(backbone.tokenizer, list(pupil.rows.texts), LIMIT)
        said = pupil.form.answers(backbone.tokenizer, list(pupil.rows.labels or ()), TOKENS)
        total += sum(map(len, (*shown, *said))) * int(pupil.settings["epochs"])
    return total


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}   {text}", flush=True)


def _solver(place: Path) -> dict[str, Any]:
    """The solver learns the first problems, and drafts answers to the second ones, of which it knows nothing."""
    first, second, _ = sets()
    _write(place / "first.csv", ("request", "draft"), first)
    recipe = _recipe(
        place, "solver", {"solve": _role("draft", ["request"], SOLVES, "first.csv")}, {"pipeline": ["solve"]}
    )
    train(recipe, place / "solver", note=_say)
    team = build(TeamRecipe.from_file(place / "solver" / FILE))
    said = Runs([p.request for p in second], place / "drafts", _note).said("drafts", team)
    drafts = [str(content.get("draft", "")) for content in said]
    rows = [
        (p.request, draft, "right" if number(draft) == p.answer else "wrong", p.answer)
        for p, draft in zip(second, drafts, strict=True)
        if draft
    ]
    _write(place / "second.csv", ("request", "draft", "verdict", "answer"), rows)
    right = sum(verdict == "right" for _, _, verdict, _ in rows)
    return {"drafts": len(rows), "right": right, "tokens": _trained_tokens(recipe)}


def _note(name: str, done: int, of: int) -> None:
    _say(f"{name}: {done} / {of}")


def _team(place: Path) -> dict[str, Any]:
    """The verifier and the refiner learn from the drafts; the solver is the one that wrote them."""
    verify = {
        "input": ["request", "draft"],
        "output": {"verdict": ["right", "wrong"]},
        "train": {"data": "second.csv", "method": "probe"},
    }
    roles = {
        "solve": {**_role("draft", ["request"], SOLVES), "model": f"solver/{ROLES}/solve"},
        "verify": verify,
        "refine": _role("answer", ["request", "draft", "verdict"], REFINES, "second.csv"),
    }
    recipe = _recipe(place, "team", roles, {"pipeline": list(roles)})
    train(recipe, place / "team", note=_say)
    return {"tokens": _trained_tokens(recipe)}


def _single(place: Path) -> dict[str, Any]:
    """One model learns all problems that the team has learnt from, for as many tokens as the team has."""
    first, second, _ = sets()
    _write(place / "both.csv", ("request", "answer"), [*first, *second])
    spent = sum(
        json.loads((place / f"{name}.json").read_text("utf-8"))["found"]["tokens"] for name in ("solver", "team")
    )
    once = _trained_tokens(_alone(place, 1))
    epochs = max(round(spent / once), 1)
    recipe = _alone(place, epochs)
    train(recipe, place / "single", note=_say)
    return {"tokens": once * epochs, "epochs": epochs, "team_tokens": spent}


def _alone(place: Path, epochs: int) -> TeamRecipe:
    roles = {"solve": _role("answer", ["request"], SOLVES, "both.csv", epochs)}
    return _recipe(place, "single", roles, {"pipeline": ["solve"]})


def _voters(place: Path, folder: str, field: str, count: int) -> Team:
    """One model that is asked several times; one voter answers as surely as it can, several are drawn."""
    voter = {
        **_role(field, ["request"], SOLVES),
        "model": f"{folder}/{ROLES}/solve",
        "temperature": HEAT if count > 1 else 0,
    }
    roles = {f"voter_{number}": voter for number in range(count)}
    return build(_recipe(place, f"votes-{count}", roles, {"vote": list(roles)}))


def _answers(place: Path) -> dict[str, Any]:
    """Everyone answers the tests; the votes are as many as the team's tokens allow, and one more."""
    test = sets()[2]
    runs = Runs([p.request for p in test], place / "traces", _note)
    team = build(TeamRecipe.from_file(place / "team" / FILE))
    teams = {TEAM: team, GREEDY: _voters(place, "single", "answer", 1), SOLVER: _voters(place, "solver", "draft", 1)}
    spent = {name: _tokens(runs, name, one) for name, one in teams.items()}
    count = min(max(-(-spent[TEAM] // spent[GREEDY]), 3), MOST)
    teams |= {
        VOTES: _voters(place, "single", "answer", int(count)),
        MAJORITY: _voters(place, "solver", "draft", int(count)),
    }
    said = {name: runs.said(name, one) for name, one in teams.items()}
    measure = exact(test)
    others = [name for name in teams if name != TEAM]
    found = beside_each_other([measure.compared(said[TEAM], said[name], 0) for name in others])
    told = {}
    for name in teams:
        interval = measure.interval(said[name], 0)
        assert interval is not None
        told[name] = {"exact": interval.to_dict(), "tokens": _tokens(runs, name, teams[name])}
    compared = {name: one.to_dict() for name, one in zip(others, found, strict=True)}
    return {"voters": int(count), "figures": told, "compared": compared, "roles": _roles(runs.traces(TEAM, team), test)}


def _tokens(runs: Runs, name: str, team: Team) -> float:
    """Tokens read and written for a problem, in the mean."""
    traces = runs.traces(name, team)
    return float(np.mean([sum(message.tokens for message in trace.messages) for trace in traces]))


def number(text: Any) -> str:
    """The last number of an answer; empty where there is none."""
    found = NUMBER.findall(str(text))
    return str(int(found[-1])) if found else ""


def exact(test: Sequence[Problem]) -> Measure:
    """Whether the last number that was said, as an answer or else as a draft, is the right one."""

    def read(said: Said) -> np.ndarray:
        texts = [content.get("answer", content.get("draft", "")) for content in said]
        right = np.array([number(text) == p.answer for text, p in zip(texts, test, strict=True)], dtype=np.float64)
        return np.stack([1 - right, right], axis=1)

    count = len(test)
    return Measure("answer", "accuracy", np.arange(count), np.ones(count, dtype=np.int64), read)


def _roles(traces: Sequence[Any], test: Sequence[Problem]) -> dict[str, Any]:
    """How often the verifier is right about a draft, and what the refiner makes of right and of wrong drafts."""
    kept, mended, judged = [], [], []
    for trace, problem in zip(traces, test, strict=True):
        said = {name: value for m in trace.messages for name, value in m.content.items()}
        right = number(said.get("draft", "")) == problem.answer
        judged.append((said.get("verdict") == "right") == right)
        (kept if right else mended).append(number(said.get("answer", "")) == problem.answer)
    shares = {}
    for name, hits in {"verdicts": judged, "kept": kept, "mended": mended}.items():
        if hits:
            table = np.array([[not hit, hit] for hit in hits], dtype=np.float64)
            figure = metric_intervals([1] * len(hits), table, seed=0, names=["accuracy"])["accuracy"].to_dict()
            shares[name] = {**figure, "n": len(hits)}
    return shares
