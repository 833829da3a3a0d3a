"""Teachers: models that are asked about the target's texts once, before anything is planned; what they say is kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transfuse.backbones import precision
from transfuse.backbones.remote import is_remote
from transfuse.data.examples import Examples
from transfuse.engine.jobs import TransferData
from transfuse.engine.ledger import Ledger
from transfuse.engine.store import Store
from transfuse.engine.taught import Taught
from transfuse.errors import RecipeError
from transfuse.fitted import FittedModel
from transfuse.fitted.answering import fingerprint, says
from transfuse.fitted.ensemble import EnsemblePath
from transfuse.fitted.model import load
from transfuse.fitted.writer import WriterPath
from transfuse.methods.catalogue import method
from transfuse.study.prepare import StudyData
from transfuse.study.recipe import Recipe, Source
from transfuse.study.workshop import Workshop, validation_rows
from transfuse.tasks.classify import Classify

PART = 256
"""Texts of a part, which is kept as a whole."""
SHARE = 1 / 3
"""Of a study's budget, the most that its teachers may take."""
MOST = 8192
"""Unlabelled texts that a teacher is asked about, at most."""
REMOTE_SHARE = 1 / 2
"""Of the budget of remote models, the most that teachers may be paid."""
WHY = "{text}\n\nThe answer is: {answer}\n\nExplain in one or two sentences why this is the answer."
"""How a teacher is asked for a reason."""
SHOTS = 8
"""Examples that a prompted teacher is shown, where it has data."""
TRIED = 12
"""Texts by which a teacher is timed."""
RECORD, PURSE = "teachers", "purse"
KEPT = 2**40
"""Bytes of lessons in a study's folder, as good as without a limit."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A teacher, ready to answer.

    Args:
        name: of its source.
        backbone: the reference of what it reads.
        path: how it answers.
        order: positions of the target's labels among its own, or None where they are the same.
        fingerprint: of everything that decides its answers.
    """

    name: str
    backbone: str
    path: Any
    order: np.ndarray | None
    fingerprint: str

    def says(self, texts: Sequence[str], arithmetic: str) -> np.ndarray:
        """Log-probabilities of the target's labels, float32 [N, C], or written answers, object [N]."""
        found = says(self.path, texts, arithmetic, self.order)
        return found if found.dtype == object else found.astype(np.float32)


def teach(
    recipe: Recipe, data: StudyData, workshop: Workshop, ledger: Ledger, note: Callable[[str, float], None]
) -> dict[str, Taught]:
    """Ask every teacher of a recipe, unless its answers are kept already.

    How many texts each is asked about is decided once, by timing a few, and obeyed by every resume.

    Args:
        recipe, data, workshop, ledger: of the study.
        note: told the name of the teacher that is asked, and the share of its texts that is done.

    Raises:
        RecipeError: a fitted model that does not know the target's labels.
        ModelError, BackboneError: a teacher that cannot be loaded; a remote one whose budget does not reach for the
            labelled texts.
    """
    named = [(i, source) for i, source in enumerate(recipe.sources) if source.teaches]
    if not named:
        return {}
    begun = ledger.read(PURSE) or {"purse": workshop.remotes.purse}  # teachers are paid before there is a plan
    ledger.write(PURSE, begun)
    workshop.remotes.go_on(begun["purse"])
    teachers = [_teacher(recipe, i, source, data, workshop) for i, source in named]
    decided = ledger.read(RECORD) or _decided(teachers, recipe, data, workshop)
    ledger.write(RECORD, decided)
    store = Store(ledger.folder / RECORD, KEPT)
    taught = {}
    for (_, source), teacher in zip(named, teachers, strict=True):
        arithmetic = decided[teacher.name]["precision"]
        texts = _texts(data, decided[teacher.name]["texts"])
        says = _asked(teacher, texts, arithmetic, store, note)
        known = data.train if isinstance(teacher.path, WriterPath) else None
        place = str(ledger.folder / RECORD)
        asks = functools.partial(teacher.says, arithmetic=arithmetic)
        why = _reasons(source, teacher, data, len(texts), arithmetic, store, note)
        taught[teacher.name] = Taught(
            texts, says, teacher.path, known, teacher.fingerprint, place, arithmetic, why, asks
        )
        ledger.tick()
    return taught


def _own(data: StudyData) -> tuple[str, ...]:
    """What a teacher is asked about in any case: the labelled texts; where answers are written, those validated."""
    if isinstance(data.task, Classify):
        return tuple(dict.fromkeys(data.train.texts))
    return tuple(dict.fromkeys(data.train.texts[i] for i in validation_rows(data)))


def _texts(data: StudyData, most: int) -> tuple[str, ...]:
    """These, and some of the unlabelled texts, each once."""
    unlabelled = data.unlabelled.texts if data.unlabelled else ()
    order = np.random.default_rng(0).permutation(len(unlabelled))[:MOST]
    return tuple(dict.fromkeys((*_own(data), *(unlabelled[i] for i in order))))[:most]


def _decided(teachers: Sequence[Teacher], recipe: Recipe, data: StudyData, workshop: Workshop) -> dict[str, Any]:
    """Of each teacher, the arithmetic and the number of texts that its share of the budget has room for."""
    out: dict[str, Any] = {}
    texts = _texts(data, len(data.train) + MOST)
    for teacher in teachers:
        arithmetic, each = "fp32", 0.0
        room = len(texts)
        if is_remote(teacher.backbone):
            each = workshop.remotes.seconds_each(teacher.backbone)
            asked = [teacher.path.requests([text]) for text in texts]
            room = workshop.remotes.affordable(teacher.backbone, asked, REMOTE_SHARE / len(teachers))
        else:
            arithmetic, each = _timed(teacher, texts, data.task.max_tokens)
        room = min(room, int(recipe.budget.minutes * 60 * SHARE / len(teachers) / max(each, 1e-9)))
        out[teacher.name] = {
            "precision": arithmetic,
            "seconds": float(f"{each:.3g}"),
            "texts": min(len(texts), max(room, len(_own(data)))),
            "offered": len(texts),
            "backbone": teacher.backbone,
        }
    return out


def _timed(teacher: Teacher, texts: Sequence[str], limit: int) -> tuple[str, float]:
    """The arithmetic that a local teacher answers in, and its seconds a text."""
    sample, arithmetic = list(texts[:TRIED]), "fp32"
    if getattr(teacher.path, "backbone", None) is not None:
        most = getattr(teacher.path, "limit", limit)
        arithmetic = str(precision.choose(teacher.path.backbone, sample, most)["precision"])
    teacher.says(sample[:2], arithmetic)  # loads, and reads what all prompts share
    start = time.perf_counter()
    teacher.says(sample, arithmetic)
    return arithmetic, (time.perf_counter() - start) / len(sample)


def _asked(
    teacher: Teacher, texts: Sequence[str], arithmetic: str, store: Store, note: Callable[[str, float], None]
) -> np.ndarray:
    """What a teacher says of all texts, in parts that are kept."""
    parts = []
    for start in range(0, len(texts), PART):
        part = texts[start : start + PART]
        key = "\0".join((teacher.fingerprint, arithmetic, *part))
        kept = store.get(key)
        if kept is None:
            note(teacher.name, start / len(texts))
            kept = _as_array(teacher.says(part, arithmetic))
            store.put(key, kept)
        parts.append(_from_array(kept))
    return np.concatenate(parts)


def _reasons(
    source: Source,
    teacher: Teacher,
    data: StudyData,
    most: int,
    arithmetic: str,
    store: Store,
    note: Callable[[str, float], None],
) -> dict[str, str]:
    """Why known answers are right, as a teacher writes it, of as many texts as it is asked about; empty if unasked."""
    if not source.rationales or isinstance(data.task, Classify):
        return {}
    pairs = list(zip(data.train.texts, data.train.labels or (), strict=True))[:most]
    said = _asked(teacher, [WHY.format(text=text, answer=answer) for text, answer in pairs], arithmetic, store, note)
    return {text: str(why) for (text, _), why in zip(pairs, said, strict=True) if str(why).strip()}


def _as_array(says: np.ndarray) -> np.ndarray:
    """Answers as the store takes them: numbers, or texts as bytes, each ended by a zero."""
    if says.dtype != object:
        return says
    return np.frombuffer(b"".join(str(s).replace("\0", "").encode() + b"\0" for s in says), dtype=np.uint8)


def _from_array(kept: np.ndarray) -> np.ndarray:
    if kept.dtype != np.uint8:
        return np.asarray(kept)
    answers = bytes(kept).decode().split("\0")[:-1]
    out = np.empty(len(answers), dtype=object)
    out[:] = answers
    return out


def _teacher(recipe: Recipe, index: int, source: Source, data: StudyData, workshop: Workshop) -> Teacher:
    if source.rationales and isinstance(data.task, Classify):
        raise RecipeError(
            f"{recipe.at('sources', index, 'rationales')}: a task of labels has nowhere to learn reasons",
            expected="a task whose answer is text",
            remedy="Leave `rationales` out.",
        )
    if source.model is not None:
        return _fitted(recipe, index, source, data)
    assert source.teacher is not None
    if source.draws > 1 and (not isinstance(data.task, Classify) or is_remote(source.teacher)):
        raise RecipeError(
            f"{recipe.at('sources', index, 'draws')}: {source.draws} prompts of {source.teacher}",
            expected="one, where answers are written and of models behind an API; more of a decoder that gives labels",
            remedy="Leave `draws` out.",
        )
    examples = data.demonstrations[source.name]
    shots = SHOTS if source.shots is None and examples is not None else source.shots or 0
    rows = Examples((), ()) if isinstance(data.task, Classify) else data.train  # whose answers say how long they are
    rows = rows if examples is None else examples
    backbone = workshop.backbone(source.teacher)
    remote = workshop.remotes.of(source.teacher)
    if backbone is not None and not backbone.decoder:
        raise RecipeError(
            f"{recipe.at('sources', index, 'teacher')}: {source.teacher} is an encoder, and cannot be asked",
            expected="a decoder; or a fitted model: {name: ..., model: FOLDER}",
            remedy="Train it on the source first (`transfuse run`), then name its folder as `model`.",
        )
    near = {"calibrate": "texts"} if isinstance(data.task, Classify) and data.unlabelled else {}
    asks, plan = TransferData(rows, unlabelled=data.unlabelled), method("prompt", data.task.kind).plan
    engine, paths = workshop.engine(source.teacher), []
    for draw in range(source.draws):
        job = plan(data.task, backbone or remote, asks, recipe.seed + draw, shots=shots, **near)
        paths.append(engine.fit(job))
    path = paths[0] if len(paths) == 1 else EnsemblePath(paths)
    about = repr((path.describe(), backbone.revision if backbone is not None else source.teacher))
    return Teacher(source.name, source.teacher, path, None, _hashed(about))


def _fitted(recipe: Recipe, index: int, source: Source, data: StudyData) -> Teacher:
    """A fitted model as a teacher; its labels are found by their names."""
    folder = recipe.base / str(source.model)
    model = load(folder)
    reference = str(model.backbone.get("resolved", ""))
    about = fingerprint(model)
    if not isinstance(model, FittedModel) or not isinstance(data.task, Classify):
        if isinstance(model, FittedModel) or isinstance(data.task, Classify) or model.task.kind != data.task.kind:
            raise RecipeError(
                f"{recipe.at('sources', index, 'model')}: {folder} answers tasks of kind {model.task.kind}",
                expected=f"a fitted model of kind {data.task.kind}",
                remedy="Name another model.",
            )
        return Teacher(source.name, reference, model.path, None, about)
    unknown = [label for label in data.task.labels if label not in model.labels]
    if unknown:
        raise RecipeError(
            f"{recipe.at('sources', index, 'model')}: {folder} does not know the label '{unknown[0]}'; "
            f"it knows {', '.join(model.labels[:8])}",
            expected=f"a model of all labels of the target: {', '.join(data.task.labels[:8])}",
            remedy="Rename the labels (`bins` or a column of the same names), or name another model.",
        )
    order = np.array([model.labels.index(label) for label in data.task.labels])
    same = model.labels == data.task.labels
    return Teacher(source.name, reference, model.path, None if same else order, about)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
