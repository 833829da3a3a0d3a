"""What a role can learn from traces, and the adapters that learn it: fine-tuning first, then preferences (DPO)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.backbones.form import Form
from transfuse.data.examples import Examples
from transfuse.engine.answers import Ask, Pairs, Prefer, Write
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, TransferData
from transfuse.engine.trunk import Trunk
from transfuse.errors import RecipeError, nearest
from transfuse.fitted import FittedWriter
from transfuse.fitted.model import load
from transfuse.methods.catalogue import method
from transfuse.methods.catalogue import settings as settings_of
from transfuse.tasks.writing import Writing
from transfuse.teams.building import fitted_folder
from transfuse.teams.decoders import Writes
from transfuse.teams.message import Message
from transfuse.teams.pupils import LIMIT, WRITES, inputs_of
from transfuse.teams.recipe import TeamRecipe
from transfuse.teams.role_rows import answer_of, labelled
from transfuse.teams.safety import shown
from transfuse.teams.values import kept, preferences, tree, winners

METHOD = "lora"
GENTLER, PASSES = 0.1, 2
"""Of preferences: the share of the rate of fine-tuning, and the passes over them."""
BETA = 0.1

Scored = Sequence[tuple[Sequence[Message], float]]
"""The messages of each trace of a request, with its outcome."""


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a role can learn.

    Args:
        pairs: texts that it was shown, with what it said that was good.
        preferences: texts with a better and a worse answer.
    """

    pairs: tuple[tuple[str, str], ...]
    preferences: tuple[tuple[str, str, str], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How much there is."""
        return {"pairs": len(self.pairs), "preferences": len(self.preferences)}

    @property
    def identity(self) -> list[Any]:
        """All of it as JSON."""
        return [[list(pair) for pair in self.pairs], [list(one) for one in self.preferences]]

    def joined(self, other: Lesson) -> Lesson:
        """Both, each line once."""
        return Lesson(
            tuple(dict.fromkeys((*self.pairs, *other.pairs))),
            tuple(dict.fromkeys((*self.preferences, *other.preferences))),
        )


def lessons_of(role: str, traces: Sequence[Scored], speaker: Writes, threshold: float, *, values: bool) -> Lesson:
    """What a role can learn from the traces of some requests.

    Args:
        role: its name.
        traces: of each request.
        speaker: how it writes.
        threshold: the least outcome, or value, that is good.
        values: whether each message counts by its value in the tree of its request's traces (and has preferences);
            else it counts by the outcome of the whole trace.
    """
    tokenizer, contract = speaker.path.backbone.tokenizer, speaker.contract
    pairs, preferred = [], []
    for scored in traces:
        root = tree(scored) if values else None
        good = kept(scored, role, threshold) if root is None else winners(root, role, threshold)
        pairs += [(shown(m.given, tokenizer), answer_of(contract, m.content)) for m in good]
        for one in preferences(root, role, threshold) if root is not None else []:
            sides = (answer_of(contract, one.better), answer_of(contract, one.worse))
            preferred.append((shown(one.given, tokenizer), *sides))
    return Lesson(tuple(dict.fromkeys(pairs)), tuple(dict.fromkeys(preferred)))


def taught(recipe: TeamRecipe, name: str, speaker: Writes) -> Lesson:
    """The labelled rows of a role; it learns them again beside its traces, or it would forget them (Yuan et al. 2023).

    Args:
        recipe: of the team.
        name: of the role.
        speaker: how it writes.

    Raises:
        RecipeError: the role has rows, and no `input`.
        DataError: rows that cannot be used.
    """
    role = recipe.roles[name]
    if role.rows is None:
        return Lesson(())
    tokenizer = speaker.path.backbone.tokenizer
    rows, _ = labelled(role.rows, recipe.base, inputs_of(name, recipe), role.output, tokenizer)
    return Lesson(tuple(dict.fromkeys(zip(rows.texts, rows.labels or (), strict=True))))


def settings_before(recipe: TeamRecipe, name: str) -> dict[str, Any]:
    """The settings by which a role was trained before; empty where it was not, or by another method."""
    reference = recipe.roles[name].model
    folder = fitted_folder(recipe.base / reference) if reference and ":" not in reference else None
    before = load(folder).made.get("role", {}) if folder else {}
    return dict(before["settings"]) if before.get("method") == METHOD else {}


def fit(
    lessons: Mapping[str, Lesson],
    speakers: Mapping[str, Writes],
    places: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
    shared: bool,
) -> dict[str, FittedWriter]:
    """Adapters that have learnt: one for each role, trained side by side, or one for all roles of a backbone.

    Args:
        lessons: of each role.
        speakers: how each writes: its backbone, form and decoding; its own adapter, if it has one, is left behind.
        places: where each role's backbone is, for its manifest.
        settings: of the method ``lora``, of each role; a shared adapter has those of its first role.
        seed: of the training.
        shared: whether roles of one backbone share an adapter.

    Raises:
        RecipeError: an unknown setting.
    """
    known = settings_of(METHOD, WRITES)
    for name in (key for given in settings.values() for key in given):
        if name not in known:
            raise RecipeError(f"setting '{name}'.{nearest(name, tuple(known))}", expected=", ".join(known))
    models: dict[str, FittedWriter] = {}
    for revision in dict.fromkeys(speaker.path.backbone.revision for speaker in speakers.values()):
        names = [name for name in lessons if speakers[name].path.backbone.revision == revision]
        engine = Engine(Trunk(speakers[names[0]].path.backbone, "fp32", LIMIT), 0)
        groups = [names] if shared else [[name] for name in names]
        jobs = [_job(group, lessons, speakers, settings, seed) for group in groups]
        for group, path in zip(groups, engine.fit_all(jobs), strict=True):
            for name in group:
                before = speakers[name].path
                decoding = dataclasses.replace(
                    path.decoding,
                    max_new_tokens=before.decoding.max_new_tokens,
                    temperature=before.decoding.temperature,
                )
                own = path.with_form(before.form).with_decoding(decoding)
                task = _task(speakers[name])
                models[name] = FittedWriter(task, own, method=METHOD, backbone=dict(places[name]))
    return models


def _task(speaker: Writes) -> Writing:
    field = next(iter(speaker.contract.fields))
    return Writing(WRITES, max_tokens=LIMIT, max_new_tokens=speaker.path.decoding.max_new_tokens, label=field)


def _job(
    names: Sequence[str],
    lessons: Mapping[str, Lesson],
    speakers: Mapping[str, Writes],
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> Job:
    """One adapter for some roles: the good answers of all, each in its role's form, then the preferences."""
    forms = {name: speakers[name].path.form for name in names}
    good = {name: lessons[name].pairs for name in names}
    every = [pair for name in names for pair in good[name]]
    every = every or [(text, better) for name in names for text, better, _ in lessons[name].preferences]
    whole = Examples(tuple(text for text, _ in every), tuple(answer for _, answer in every))
    first = speakers[names[0]]
    own = settings[names[0]]
    planned = method(METHOD, WRITES).plan(_task(first), first.path.backbone, TransferData(whole), seed, **own)
    (write,) = [stage for stage in planned.stages if isinstance(stage, Write)]
    (ask,) = [stage for stage in planned.stages if isinstance(stage, Ask)]
    stop = (*ask.decoding.stop, "\n\n") if forms[names[0]].special else ask.decoding.stop
    ask = dataclasses.replace(
        ask, form=forms[names[0]], decoding=dataclasses.replace(ask.decoding, stop=tuple(dict.fromkeys(stop)))
    )
    parts = tuple((_pairs(good[name]), forms[name]) for name in names if good[name])
    stages: list[Any] = [dataclasses.replace(write, parts=parts, held=None)] if parts else []
    preferred = tuple(_sides(lessons[name], forms[name]) for name in names if lessons[name].preferences)
    if preferred:
        rate = GENTLER * write.schedule.learning_rate
        schedule = dataclasses.replace(write.schedule, learning_rate=rate, epochs=PASSES)
        stages.append(Prefer(preferred, write.limit, write.layers, write.adapter or {}, schedule, BETA))
    return Job((*stages, ask), 0, seed)


def _pairs(pairs: Sequence[tuple[str, str]]) -> Pairs:
    texts, answers = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    return Pairs(texts, answers, np.ones(len(pairs)), np.ones(len(pairs), dtype=bool))


def _sides(lesson: Lesson, form: Form) -> tuple[Pairs, Pairs, Form]:
    better, worse = (_pairs([(one[0], one[side]) for one in lesson.preferences]) for side in (1, 2))
    return better, worse, form
