"""A team becomes one fitted model: what it answers to requests is what the model learns to say."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.data.remote_names import is_remote
from transfuse.engine.fit import Engine
from transfuse.errors import DataError, RecipeError
from transfuse.teams.answer import Answer
from transfuse.teams.building import MAX_NEW_TOKENS
from transfuse.teams.contract import REQUEST, TEXT
from transfuse.teams.labelled import LabelledRows, kinds_of, main_field, value_as_text
from transfuse.teams.message import canonical
from transfuse.teams.pupils import pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.team import Team
from transfuse.teams.traces import ANSWERED, Traces
from transfuse.teams.training import backbone_of, key_of, made, saved, trunk_of, write

ONE, MODEL, PAIRS, RECORD = "one", "model", "pairs.jsonl", "distilled.json"

Note = Callable[[str], None]
"""Told what is done now."""


def distill(
    team: Team,
    requests: Sequence[str],
    backbone: str,
    out: Path,
    *,
    base: Path | None = None,
    field: str | None = None,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    origin: str = "requests",
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Train one model on what a team answers.

    The team is asked each request once; its traces are durable, so the same call goes on where it stopped. What
    stands in for an answer and what was refused is left out. The model learns the other answers as a role would that
    is given the request alone (see `training.train`).

    Args:
        team: the team, whose roles may be anything.
        requests: texts; of equal ones the first.
        backbone: of the model, a reference.
        out: the folder: ``model``, ``pairs.jsonl``, ``traces-HASH.sqlite``, ``distilled.json``.
        base: what a relative reference is relative to; None for the current folder.
        field: of the team's answer, where it has several; see `main_field`.
        method: how it learns; by default as a role, ``lora`` for texts and ``probe`` for labels.
        settings: of the method.
        seed: of the training.
        origin: what messages call the requests.
        note: told what is done now.

    Returns:
        what ``distilled.json`` holds: how many requests came to what, the field, the method and its settings.

    Raises:
        DataError: no request, nothing that was answered, or several fields that could be meant.
        RecipeError: a remote backbone, or a method that cannot learn this.
        OutputError: the folder cannot be written.
    """
    if is_remote(backbone):
        raise RecipeError(
            f"backbone {backbone}: a remote model, whose layers nobody here can train",
            expected="a backbone on this machine: a path, catalog:NAME or hub:OWNER/NAME",
            remedy="Name one with --backbone.",
        )
    texts = list(dict.fromkeys(requests))
    answers = _answers(team, texts, out, note)
    field, pairs = _pairs(team, texts, answers, field, origin)
    write(out / PAIRS, "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs))
    recipe = _alone(team, field, backbone, out, base, method, dict(settings or {}), seed)
    pupil = pupil_of(ONE, recipe, backbone_of(ONE, recipe, {}))
    record = {
        "team": team.name,
        "requests": len(texts),
        "outcomes": dict(Counter(answer.outcome for answer in answers)),
        "pairs": len(pairs),
        "field": field,
        "method": pupil.method,
        "settings": dict(pupil.settings),
        "backbone": backbone,
        "seed": seed,
    }
    key = key_of(pupil, {}, seed)
    if made(out / MODEL) != key:
        note(f"train on {len(pairs)} answers")
        path = Engine(trunk_of(pupil), 0).fit(pupil.job(pupil.rows, None, seed))
        saved(pupil, path, {"distilled": record, "key": key}).save(out / MODEL)
    write(out / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return record


def _answers(team: Team, texts: Sequence[str], out: Path, note: Note) -> list[Answer]:
    """What the team says; the file of its traces is named after all that decides it."""
    about = hashlib.sha256(canonical([team.fingerprint, team.seed, list(texts)]).encode()).hexdigest()
    store = Traces(out / f"traces-{about[:8]}.sqlite")
    try:
        return team.ask_all(texts, store, note=lambda done: note(f"ask the team: {done} / {len(texts)}"))
    finally:
        store.close()


def _pairs(
    team: Team, texts: Sequence[str], answers: Sequence[Answer], asked: str | None, origin: str
) -> tuple[str, list[dict[str, Any]]]:
    """The field that is the team's answer, by the rules of `team evaluate`, and the rows that hold it."""
    said = [(text, a.content) for text, a in zip(texts, answers, strict=True) if a.outcome == ANSWERED and a.content]
    if not said:
        why = f": {answers[0].reason}" if answers else ""
        raise DataError(
            f"{origin}: team '{team.name}' has answered none of {len(texts)} requests{why}",
            expected="requests that the team answers; some hundreds are better than some tens",
            remedy="Ask it one with `transfuse team run`, which shows who fails.",
        )
    kinds = kinds_of(team)
    fields = {
        name: tuple(value_as_text(content.get(name, ""), kinds.get(name, TEXT)) for _, content in said)
        for name in dict.fromkeys(name for _, content in said for name in content)
    }
    rows = LabelledRows(tuple(text for text, _ in said), fields, (), origin)
    (alone, *others) = fields
    field = alone if not others and asked is None else main_field(rows, team, asked)
    return field, [{REQUEST: text, field: content[field]} for text, content in said if field in content]


def _alone(
    team: Team,
    field: str,
    backbone: str,
    out: Path,
    base: Path | None,
    method: str | None,
    settings: dict[str, Any],
    seed: int,
) -> TeamRecipe:
    """A team's file with one role that is given the request and learns to say the field."""
    kind = kinds_of(team).get(field, TEXT)
    train: dict[str, Any] = {"data": str((out / PAIRS).resolve())}
    if method is not None or settings:
        train["method"] = {method or ("probe" if isinstance(kind, tuple) else "lora"): settings}
    role = {
        "input": [REQUEST],
        "output": {field: list(kind) if isinstance(kind, tuple) else kind},
        "max_new_tokens": _longest(team, field),
        "train": train,
    }
    fields = {"name": ONE, "backbone": backbone, "roles": {ONE: role}, "protocol": {"pipeline": [ONE]}, "seed": seed}
    origin = f"team '{team.name}' as one model"
    return TeamRecipe.from_text(json.dumps(fields, ensure_ascii=False), base or Path.cwd(), origin=origin)


def _longest(team: Team, field: str) -> int:
    """Tokens of the longest answer that a role of the team may write there."""
    found = [MAX_NEW_TOKENS]
    for role in team.roles.values():
        decoding = getattr(getattr(role.speaker, "path", None), "decoding", role.speaker)
        if field in role.output.fields:
            found.append(getattr(decoding, "max_new_tokens", 0))
    return max(found)
