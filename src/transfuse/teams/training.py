"""Roles learn from labelled data: all of one backbone over one trunk, each with its verdict on what it transfers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.backbones import loading, precision
from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.data.hygiene import drop_copies
from transfuse.data.located import dump
from transfuse.data.remote_names import is_remote
from transfuse.engine.checkpoints import Checkpoints
from transfuse.engine.fit import Engine
from transfuse.engine.trunk import Trunk
from transfuse.errors import DataError, OutputError, RecipeError
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.fitted.artifact import MANIFEST
from transfuse.fitted.model import known, load
from transfuse.tasks.classify import Classify
from transfuse.teams.message import canonical
from transfuse.teams.outcome_scores import beside_each_other, compared
from transfuse.teams.pupils import LIMIT, Pupil, pupil_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.role_rows import split

HELD = 0.2
"""Of a role's rows, where the worth of its sources is judged."""
ROLES, FILE, RECORD = "roles", "team.yaml", "training.json"
TRAININGS = "trainings"
"""Where long trainings and finished verdicts stand until all roles are trained."""

Note = Callable[[str], None]
"""Told what is done now."""


def train(recipe: TeamRecipe, out: Path, note: Note = lambda text: None) -> dict[str, Any]:
    """Train the roles of a team that have ``train``, and write the team that uses them.

    A role that is there already, made of the same data and settings, stays as it is; what was cut off goes on from its
    last checkpoint, and verdicts that are there are taken again. Roles of one backbone that start
    from nothing of each other are trained side by side (see `Engine.fit_all`), and a text that several of them read
    goes through the frozen layers once.

    Args:
        recipe: of the team.
        out: the folder: ``roles/NAME``, ``team.yaml``, ``training.json``.
        note: told what is done now.

    Returns:
        what ``training.json`` holds: of each role its method, its rows and the verdicts on its sources.

    Raises:
        RecipeError: nothing to train, or a role that cannot be trained as the file says.
        DataError: rows that cannot be used.
        OutputError: the folder cannot be written.
    """
    names = [name for name, role in recipe.roles.items() if role.train is not None]
    if not names:
        raise RecipeError(
            f"{recipe.at('roles')}: no role has `train`",
            expected="a role with train: {data: FILE, method: lora}",
            remedy="Say of a role what it learns from.",
        )
    backbones: dict[str, Backbone] = {}
    pupils = {name: pupil_of(name, recipe, backbone_of(name, recipe, backbones)) for name in names}
    trunks: dict[str, Trunk] = {}
    records: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for wave in waves(recipe, names):
        for name in wave:
            keys[name] = key_of(pupils[name], keys, recipe.seed)
        new = [pupils[name] for name in wave if made(out / ROLES / name) != keys[name]]
        for reference in dict.fromkeys(pupil.backbone.revision for pupil in new):
            side_by_side = [pupil for pupil in new if pupil.backbone.revision == reference]
            note(f"train {', '.join(pupil.name for pupil in side_by_side)}")
            _together(side_by_side, recipe, out, trunks, keys)
        records |= {name: load(out / ROLES / name).made["role"] for name in wave}
    write(out / FILE, dump(placed(recipe, {n: f"{ROLES}/{n}" for n in names}, {n for n in names if pupils[n].labels})))
    record = {"team": recipe.name, "roles": {name: records[name] for name in names}}
    write(out / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(out / TRAININGS, ignore_errors=True)
    return record


def waves(recipe: TeamRecipe, names: Sequence[str]) -> list[list[str]]:
    """Roles that train, in an order in which each comes after those that it starts from.

    Raises:
        RecipeError: a source that is no role which trains, or roles that start from each other.
    """
    needs: dict[str, set[str]] = {}
    for name in names:
        section = recipe.roles[name].train
        assert section is not None
        needs[name] = {source.role for source in section.sources if source.role}
        for place, source in enumerate(section.sources):
            if source.role is not None and (source.role not in names or source.role == name):
                raise RecipeError(
                    f"{recipe.at('roles', name, 'train', 'sources', place, 'role')}: '{source.role}' does not train",
                    expected=f"another role that trains: {', '.join(n for n in names if n != name) or 'there is none'}",
                )
    out: list[list[str]] = []
    done: set[str] = set()
    while len(done) < len(names):
        ready = [name for name in names if name not in done and needs[name] <= done]
        if not ready:
            left = ", ".join(name for name in names if name not in done)
            raise RecipeError(f"roles {left} start from each other", remedy="Leave one of these sources out.")
        out.append(ready)
        done |= set(ready)
    return out


def _together(
    pupils: Sequence[Pupil], recipe: TeamRecipe, out: Path, trunks: dict[str, Trunk], keys: Mapping[str, str]
) -> None:
    """Fit roles of one backbone: once to judge their sources on rows apart, then all of them on all their rows."""
    revision = pupils[0].backbone.revision
    if revision not in trunks:
        trunks[revision] = trunk_of(pupils[0])
    trunk = trunks[revision]
    for pupil in pupils:
        trunk.register(pupil.rows.texts)
    engine = Engine(trunk, 0, kept=Checkpoints(out / TRAININGS))
    knowledge = {pupil.name: pupil.knowledge(out / ROLES) for pupil in pupils}
    verdicts = {
        name: _judged(pupil, knowledge[name], engine, recipe.seed, out / TRAININGS / f"{name}.json", keys[name])
        for name, pupil in ((pupil.name, pupil) for pupil in pupils)
        if knowledge[name]
    }
    chosen = {name: _best(found) for name, found in verdicts.items()}
    used = {pupil.name: knowledge[pupil.name].get(chosen.get(pupil.name, "")) for pupil in pupils}
    paths = engine.fit_all([pupil.job(pupil.rows, used[pupil.name], recipe.seed) for pupil in pupils])
    for pupil, path in zip(pupils, paths, strict=True):
        record = {
            "method": pupil.method,
            "settings": pupil.settings,
            "rows": len(pupil.rows),
            "sources": verdicts.get(pupil.name, {}),
            "uses": chosen.get(pupil.name, "") or None,
        }
        saved(pupil, path, {"role": record, "key": keys[pupil.name]}).save(out / ROLES / pupil.name)


def trunk_of(pupil: Pupil) -> Trunk:
    """A trunk of the role's backbone, in the arithmetic that a trial on its rows finds best."""
    chosen = precision.choose(pupil.backbone, list(pupil.rows.texts[:16]), LIMIT)
    return Trunk(pupil.backbone, str(chosen["precision"]), LIMIT)


def saved(pupil: Pupil, path: Any, made: dict[str, Any]) -> FittedModel | FittedWriter:
    """A role's path as a fitted model."""
    kind: Any = FittedModel if isinstance(pupil.task, Classify) else FittedWriter
    model: FittedModel | FittedWriter = kind(
        pupil.task, path, method=pupil.method, backbone=dict(pupil.place), made=made
    )
    return model


def _judged(
    pupil: Pupil, knowledge: Mapping[str, Any], engine: Engine, seed: int, file: Path, key: str
) -> dict[str, Any]:
    """Of each source of a role, what it is worth on rows that neither holds: the paired comparison, as JSON.

    The comparisons are adjusted for how many of them there are (Holm).

    Args:
        pupil: the role.
        knowledge: its sources, by name.
        engine: over its backbone.
        seed: of the split and the training.
        file: where the verdicts are kept until all roles are trained; those of the same key are taken again.
        key: see `key_of`.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return dict(kept["sources"])
    except (OSError, ValueError, KeyError):
        pass  # none is kept, or what is kept is of no use
    rows, held = split(pupil.rows, HELD, seed)
    jobs = [pupil.job(rows, _unseen(pupil, source, knowledge, held), seed) for source in ("", *knowledge)]
    alone, *others = [pupil.task.judged(engine.predict(path, held.texts)) for path in engine.fit_all(jobs)]
    expected, metric = pupil.task.encode(held), pupil.task.metric
    each = beside_each_other([compared(expected, other, alone, metric, seed) for other in others])
    found = {source: {"metric": metric, **one.to_dict()} for source, one in zip(knowledge, each, strict=True)}
    write(file, json.dumps({"key": key, "sources": found}, ensure_ascii=False))
    return found


def _unseen(pupil: Pupil, name: str, knowledge: Mapping[str, Any], held: Examples) -> Any:
    """A source without the texts on which it is judged; None where the name is empty.

    Raises:
        DataError: nothing is left of it.
    """
    source = knowledge.get(name)
    if not isinstance(source, Examples):
        return source
    left, _ = drop_copies(source, held)
    if not len(left):
        raise DataError(
            f"{pupil.where}: all texts of the source '{name}' are among the {len(held)} rows held out to judge it",
            expected="a source with rows beside those that the role has itself",
            remedy="Leave the source out, or give it more rows.",
        )
    return left


def _best(verdicts: Mapping[str, Any]) -> str:
    """The source that is worth most on the rows apart; empty where none is worth anything there."""
    best = max(verdicts, key=lambda source: verdicts[source]["difference"]["value"])
    return best if verdicts[best]["difference"]["value"] > 0 else ""


def placed(recipe: TeamRecipe, folders: Mapping[str, str], choosing: Collection[str] = ()) -> dict[str, Any]:
    """The team's file with fitted models in the places of the roles that were trained, and the rows that they learnt.

    Args:
        recipe: as the user wrote it.
        folders: of the fitted models, relative to the new file.
        choosing: the names of those that choose labels, for which the settings of decoders say nothing.
    """
    plain = recipe.written
    if plain.get("backbone"):
        plain["backbone"] = _absolute(plain["backbone"], recipe.base)
    for name, role in plain["roles"].items():
        train = role.pop("train", None)
        rows = train["data"] if train else role.get("rows")
        if rows:
            role["rows"] = _absolute(str(rows), recipe.base)
        if name in folders:
            role["model"] = folders[name]
            for key in ("instructions", "temperature", "max_new_tokens") if name in choosing else ():
                role.pop(key, None)
        elif role.get("model"):
            role["model"] = _absolute(role["model"], recipe.base)
    for key in ("selects", "grades") if plain.get("learn") else ():
        found = plain["learn"][key]
        for check in found if isinstance(found, list) else [found]:
            if isinstance(check, dict) and "classifier" in check:
                check["classifier"] = _absolute(str(check["classifier"]), recipe.base)
    return plain


def _absolute(reference: str, base: Path) -> str:
    return reference if ":" in reference else str((base / reference).resolve())


def backbone_of(name: str, recipe: TeamRecipe, loaded: dict[str, Backbone]) -> Backbone:
    """The backbone that a role is trained on; one that is loaded is taken again.

    Raises:
        RecipeError: none, a remote one, or a fitted model in its place.
    """
    reference = recipe.roles[name].model or recipe.backbone
    at = recipe.at("roles", name)
    if reference is None or is_remote(reference) or (recipe.base / reference / MANIFEST).exists():
        raise RecipeError(
            f"{at}: no backbone on this machine to train on" + (f", but {reference}" if reference else ""),
            expected="`backbone:` of the team, or `model:` of the role: a path, catalog:NAME or hub:OWNER/NAME",
            remedy="A fitted model to start from stands under `sources`.",
        )
    if reference not in loaded:
        loaded[reference] = known(loading.load(reference, base=recipe.base))
    return loaded[reference]


def key_of(pupil: Pupil, keys: Mapping[str, str], seed: int) -> str:
    """Equal for roles that would be trained to the same: data, settings, backbone, seed, and what they start from."""
    others = [keys[source.role] for source in pupil.section.sources if source.role]
    return hashlib.sha256(canonical([pupil.identity, others, seed]).encode()).hexdigest()


def made(folder: Path) -> str:
    """The key of a role that is there already; empty where there is none."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["made"]["key"])
    except (OSError, ValueError, KeyError):
        return ""


def write(file: Path, text: str) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        OutputError: the place cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.partial")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error
