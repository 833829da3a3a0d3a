"""Roles learn from traces: one outcome check accepts what is learnt, another one grades what came of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.located import dump
from transfuse.data.readers import read_table
from transfuse.errors import DataError, RecipeError
from transfuse.evaluation import compare
from transfuse.fitted.model import load
from transfuse.teams.building import build
from transfuse.teams.contract import LIST, REQUEST
from transfuse.teams.labelled import value_as_text
from transfuse.teams.lessons import METHOD, Lesson, fit, lessons_of, settings_before, taught
from transfuse.teams.message import canonical
from transfuse.teams.outcomes import Check, Judged, answered, apart, check_of, held_out
from transfuse.teams.pupils import place_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.sampling import in_order, sampled, warmed, writers
from transfuse.teams.team import Team
from transfuse.teams.traces import Trace, Traces, text_of
from transfuse.teams.training import FILE, ROLES, made, placed, write
from transfuse.teams.values import rests_on

RECORD, LEARNT, ROUNDS = "learning.json", "learnt", "rounds"
OWN, SHARED, BEFORE = "one adapter a role", "one adapter for all", "before"
REJECTION, VALUES = "rejection", "values"
HOW = (REJECTION, VALUES)
"""What is learnt of traces: what stands in accepted ones, or what a tree of samples says each message was worth."""
HELD = 0.25
"""Of the requests, where what came of it is graded."""

Note = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Requests with what is known of their right answers.

    Args:
        requests: N texts.
        expected: of each, texts by column.
    """

    requests: tuple[str, ...]
    expected: tuple[Mapping[str, str], ...]

    @staticmethod
    def read(reference: str, base: Path) -> Asked:
        """From a file with a column ``request``; other columns are what answers' fields of their names should be."""
        table = read_table(reference, base=base)
        if REQUEST not in table.columns:
            raise DataError(
                f"{table.origin}: no column '{REQUEST}'",
                expected="a column of requests; a column named as the answer's field, or `expected`, is what is right",
            )
        texts = [_cell(value).strip() for value in table.columns[REQUEST]]
        if not all(texts):
            row = table.rows[texts.index("")]
            raise DataError(f"{table.origin}, row {row}: an empty request", remedy="Drop the row.")
        others = [name for name in table.columns if name != REQUEST]
        known = [{name: _cell(table.columns[name][i]) for name in others} for i in range(len(table))]
        return Asked(tuple(texts), tuple(known))

    def take(self, places: Sequence[int]) -> Asked:
        """Some of them."""
        return Asked(tuple(self.requests[i] for i in places), tuple(self.expected[i] for i in places))

    def split(self, seed: int) -> tuple[Asked, Asked]:
        """Those to learn from, and those to grade on; equal requests stay on one side.

        Raises:
            DataError: too few to do both.
        """
        texts = list(dict.fromkeys(self.requests))
        if len(texts) < 4:
            raise DataError(
                f"{len(texts)} different requests", expected="4 or more, to learn from some and grade others"
            )
        order = np.random.default_rng(seed).permutation(len(texts))
        held = {texts[i] for i in order[: max(round(HELD * len(texts)), 1)]}
        sides = [[i for i, text in enumerate(self.requests) if (text in held) == side] for side in (False, True)]
        return self.take(sides[0]), self.take(sides[1])


def _cell(value: Any) -> str:
    return "" if value is None else value_as_text(value, LIST)


def judged(request: str, content: Mapping[str, Any], expected: Mapping[str, str]) -> Judged:
    """An answer as a check takes it."""
    return Judged(request, text_of(content), content, expected)


def learn(
    folder: Path,
    requests: str,
    *,
    rounds: int = 1,
    samples: int = 4,
    temperature: float = 0.7,
    how: str = REJECTION,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Let the writing roles of a team learn from its own traces.

    Each round samples traces of the requests, lets ``learn.selects`` of the team's file judge their outcomes, and
    trains an adapter for each role from the model without one, on what all rounds have found beside the role's labelled
    rows (`rows` in its file, which `training.train` writes). In the end one adapter
    for all roles is trained on the same. Both are graded beside the team as it was, by ``learn.grades`` on requests
    that nobody has learnt from. The one that ``learn.selects`` likes best there is kept as ``learnt/team.yaml``.

    Args:
        folder: of the team, with ``team.yaml`` (see `training.train`), or that file.
        requests: a file with a column ``request``, relative to the current folder.
        rounds: of sampling and training.
        samples: of each request and round.
        temperature: of roles that have none.
        how: ``rejection`` or ``values``, see `HOW`.
        settings: of the method ``lora``, where they differ from those by which a role was trained, or the defaults.
        seed: of the split, the samples and the training.
        note: told what is done now.

    Returns:
        what ``learning.json`` holds.

    Raises:
        RecipeError: a file without ``learn``, no role that writes, or no such way to learn.
        TeamError: a check that both selects and grades (see `apart`), or a classifier that is a role of the team.
        DataError: requests that cannot be used, or no trace that is accepted.
    """
    file = folder if folder.is_file() else folder / FILE
    out = file.parent
    recipe = TeamRecipe.from_file(file)
    if recipe.learn is None:
        raise RecipeError(
            f"{file}: no `learn`",
            expected="checks that select traces and grade the team: learn: {selects: numbers, grades: {judge: ROLE}}",
        )
    if how not in HOW:
        raise RecipeError(f"'{how}'", expected=" or ".join(HOW))
    team = build(recipe).replaced(seed=seed)
    selects = check_of(recipe.learn.selects, team, recipe.base, recipe.at("learn", "selects"))
    grades = check_of(recipe.learn.grades, team, recipe.base, recipe.at("learn", "grades"))
    apart(selects, grades, team)
    for check in (selects, grades):
        held_out(check, team)
    if not writers(team):
        raise RecipeError(f"{file}: no role writes with a decoder on this machine", expected="one that learns")
    learning, grading = Asked.read(requests, Path.cwd()).split(seed)
    speakers = writers(team)
    known = {name: taught(recipe, name, speaker) for name, speaker in speakers.items()}
    own = {name: {**settings_before(recipe, name), **(settings or {})} for name in speakers}
    run = _Run(recipe, out, selects, recipe.learn.threshold, how, known, own, seed, note)
    told: list[dict[str, Any]] = []
    lessons: dict[str, Lesson] = {}
    current = team
    for number in range(rounds):
        traces = run.traces(number, current, learning, samples, temperature)
        scores = [
            selects.scores([judged(t.request, answered(t.outcome, t.answer), learning.expected[i]) for t in row])
            for i, row in enumerate(traces)
        ]
        lessons = run.lessons(lessons, traces, scores, team)
        told.append(
            {
                "traces": sum(map(len, traces)),
                "outcome": float(np.mean(np.concatenate(scores))),
                "roles": {n: {**lesson.counts, "rows": len(known[n].pairs)} for n, lesson in lessons.items()},
            }
        )
        current = run.fitted(number, OWN, lessons, team)
    teams = {BEFORE: team, OWN: current}
    if len(lessons) > 1:
        teams[SHARED] = run.fitted(rounds - 1, SHARED, lessons, team)
    answers = {name: run.answered(one, grading) for name, one in teams.items()}
    pleasing = {name: selects.scores(found) for name, found in answers.items()}
    outcomes = {name: grades.scores(found) for name, found in answers.items()}
    record = {
        "how": how,
        "samples": samples,
        "temperature": temperature,
        "settings": {name: own[name] for name in lessons},
        "seed": seed,
        "threshold": recipe.learn.threshold,
        "rounds": told,
        "selects": selects.identity,
        "grades": grades.identity,
        **verdicts(outcomes, pleasing, recipe.learn.threshold, seed),
    }
    run.keep(record["uses"], rounds - 1, lessons)
    write(out / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return record


def verdicts(
    outcomes: Mapping[str, np.ndarray], pleasing: Mapping[str, np.ndarray], threshold: float, seed: int
) -> dict[str, Any]:
    """What each way was worth: paired comparisons of the shares of requests whose outcome reaches the threshold.

    Args:
        outcomes: of each way, as it is graded, float64 [N], on the same requests; one is `BEFORE`.
        pleasing: the same by the check that selects, which alone chooses: what grades chooses nothing.
        threshold: see above.
        seed: of the resamples.

    Returns:
        ``outcomes`` (mean and accepted share of each), ``compared`` (each way with `BEFORE`, and one adapter a role
        with one for all), and ``uses``: the way that pleases most, unless its grade is shown to be worse than before;
        `BEFORE` where none pleases more.
    """
    accepted = {name: (found >= threshold).astype(float) for name, found in outcomes.items()}
    pairs = [(name, BEFORE) for name in outcomes if name != BEFORE]
    pairs += [(OWN, SHARED)] if SHARED in outcomes else []
    ones = np.ones(len(accepted[BEFORE]), dtype=np.int64)

    def against(a: str, b: str) -> dict[str, object]:
        sides = [np.stack([1 - accepted[name], accepted[name]], axis=1) for name in (a, b)]
        return compare(ones, sides[0], sides[1], seed=seed).to_dict()

    compared = [{"a": a, "b": b, **against(a, b)} for a, b in pairs]
    harmful = {one["a"] for one in compared if one["b"] == BEFORE and one["verdict"] == "hurts"}
    liked = {name: float((found >= threshold).mean()) for name, found in pleasing.items() if name not in harmful}
    return {
        "outcomes": {
            name: {"mean": float(found.mean()), "accepted": float(accepted[name].mean())}
            for name, found in outcomes.items()
        },
        "compared": compared,
        "uses": max(liked, key=lambda name: (liked[name], name == BEFORE, name == OWN)),
    }


@dataclasses.dataclass
class _Run:
    """What a run of learning has at hand."""

    recipe: TeamRecipe
    out: Path
    selects: Check
    threshold: float
    how: str
    known: Mapping[str, Lesson]
    settings: Mapping[str, Mapping[str, Any]]
    seed: int
    note: Note

    def traces(self, number: int, team: Team, asked: Asked, samples: int, heat: float) -> list[list[Trace]]:
        """Sampled traces of each request; the file is named after all that decides what they are."""
        warm = warmed(team, heat).replaced(seed=self.seed + number)
        about = hashlib.sha256(canonical([warm.fingerprint, list(asked.requests), warm.seed, samples]).encode())
        file = self.out / ROUNDS / str(number + 1) / f"traces-{about.hexdigest()[:8]}.sqlite"
        store = Traces(file)
        try:
            return sampled(warm, asked.requests, store, samples, lambda text: self.note(f"round {number + 1}: {text}"))
        finally:
            store.close()

    def lessons(
        self,
        before: Mapping[str, Lesson],
        traces: Sequence[Sequence[Trace]],
        scores: Sequence[np.ndarray],
        team: Team,
    ) -> dict[str, Lesson]:
        """What each role can learn from the traces of this round and of those before."""
        scored = [
            [(rests_on(in_order(t.messages, team.roles), answered(t.outcome, t.answer)), float(s)) for t, s in pairs]
            for pairs in (zip(row, own, strict=True) for row, own in zip(traces, scores, strict=True))
        ]
        found: dict[str, Lesson] = {}
        for name, speaker in writers(team).items():
            new = lessons_of(name, scored, speaker, self.threshold, values=self.how == VALUES)
            lesson = before[name].joined(new) if name in before else new
            if lesson.pairs or lesson.preferences:
                found[name] = lesson
        if not found:
            best = max(float(own.max()) for own in scores)
            raise DataError(
                f"no trace has an outcome of {self.threshold:g} or more; the best one has {best:.2f}",
                expected="traces to learn from",
                remedy="Take more samples, a higher temperature, or a lower learn.threshold.",
            )
        return found

    def fitted(self, number: int, way: str, lessons: Mapping[str, Lesson], team: Team) -> Team:
        """The team whose roles have learnt; roles that are there already are not trained again."""
        place = self._place(number, way)
        whole = {name: self.known[name].joined(lesson) for name, lesson in lessons.items()}
        about = {name: lesson.identity for name, lesson in whole.items()}
        own = {name: self.settings[name] for name in lessons}
        key = hashlib.sha256(canonical([about, own, self.seed, way]).encode()).hexdigest()
        if any(made(place / name) != key for name in lessons):
            self.note(f"round {number + 1}: train {', '.join(lessons)} ({way})")
            speakers = {name: writers(team)[name] for name in lessons}
            places = {name: place_of(self.recipe, name) for name in lessons}
            for name, model in fit(whole, speakers, places, own, self.seed, way == SHARED).items():
                model.made = {"key": key, "role": {"method": METHOD, "settings": own[name]}}
                model.save(place / name)
        plain = placed(self.recipe, {name: str((place / name).resolve()) for name in lessons})
        return build(TeamRecipe.from_text(dump(plain), self.recipe.base, str(self.out / FILE))).replaced(seed=self.seed)

    def answered(self, team: Team, asked: Asked) -> list[Judged]:
        """A team's answers to the requests that nobody has learnt from."""
        self.note("grade")
        rows = zip(asked.requests, team.ask_all(asked.requests), asked.expected, strict=True)
        return [judged(request, answered(answer.outcome, answer.content), known) for request, answer, known in rows]

    def keep(self, way: str, number: int, lessons: Mapping[str, Lesson]) -> None:
        """Write the team that is best: ``learnt/team.yaml`` with its roles beside it."""
        target = self.out / LEARNT
        names = () if way == BEFORE else tuple(lessons)
        for name in names:
            load(self._place(number, way) / name).save(target / ROLES / name)
        write(target / FILE, dump(placed(self.recipe, {name: f"{ROLES}/{name}" for name in names})))

    def _place(self, number: int, way: str) -> Path:
        return self.out / ROUNDS / str(number + 1) / ("shared" if way == SHARED else "own")
