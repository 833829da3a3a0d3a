"""A student out of a teacher without a study: what the teacher has answered, and more texts, taught to a backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.taught import Taught
from transfuse.engine.trunk import Trunk
from transfuse.errors import DataError, OutputError
from transfuse.evaluation import Interval, as_answers, as_expected, metric_intervals
from transfuse.evaluation import temperature as best_temperature
from transfuse.fitted import Cascade, FittedModel, FittedWriter
from transfuse.fitted.answering import says
from transfuse.fitted.cascade import Teacher, ask, is_cascade, load_cascade
from transfuse.fitted.kept import FILE, USE, VALIDATION, Kept
from transfuse.fitted.writer import WriterPath
from transfuse.methods.catalogue import method
from transfuse.study.asking import Model, as_model, backbone_of, model_place
from transfuse.study.cascade import labelled as read_labelled
from transfuse.study.labelled import read_texts
from transfuse.study.progress import NOTES, Progress, Silent
from transfuse.tasks.classify import Classify

MODEL = "model"
LEAST, HELD, MOST_HELD = 30, 0.1, 500
"""Texts that are needed; the share that is held out to see how well the student agrees, and the most of it."""
COLUMNS = ("input", "label", "bins", "context", "tests", "entry", "group")
"""What a teacher's manifest names that its student's names, too."""
BOUNDS = (0.5, 20.0)
"""Of the temperature: a few texts on which both agree do not show that the student may be surer still."""


def distill(
    teacher: str | Path | Model | Cascade,
    student: str,
    texts: str | Sequence[str] = (),
    labelled: str | Examples | None = None,
    out: str | Path | None = None,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
    epochs: int | None = None,
    learning_rate: float | None = None,
    train_layers: int | str | None = None,
    label: str | None = None,
    input: str | None = None,
    precision: str = "fp32",
    seed: int = 0,
    lang: str = "en",
    progress: Progress | None = None,
) -> FittedModel | FittedWriter:
    """Train a student on what a teacher says: of its own texts, and of what a cascade has asked it before.

    Args:
        teacher: a cascade or its folder, whose kept answers are learnt and whose teacher is asked about more; or a
            fitted model or its folder.
        student: a backbone's reference.
        texts: more texts to ask the teacher about: a reference, or texts.
        labelled: labelled rows, from which the student learns too: a reference, or examples.
        out: the folder; the model is saved below it, and what a fitted teacher answers is kept there.
        temperature, alpha: of the method `distill`.
        epochs: passes over the taught texts; by default the method's.
        learning_rate, train_layers: of the student; by default the method's.
        label, input: columns, where they differ from those of the task.
        precision: of the training.
        seed: of everything random.
        lang, progress: as of `cascade`.

    Returns:
        The student; ``made["distilled"]`` says how well it agrees with its teacher on texts that were held out.

    Raises:
        DataError: too few texts.
        ModelError, BackboneError: a teacher or a student that cannot be used.
        OutputError: the place cannot be written.

    Example:
        >>> student = transfuse.distill("both", "catalog:minilm-l6", "more.txt", out="next")  # doctest: +SKIP
        >>> student.made["distilled"]["agreement"]["accuracy"]["value"]  # doctest: +SKIP
        0.94
    """
    tell = progress or Silent()
    source, kept, own = _source(teacher, None if out is None else Path(out))
    rows = None if labelled is None else read_labelled(own, labelled, label, input, judges=False)
    more = read_texts(texts, own.manifest["task"], input) if isinstance(texts, str) else tuple(texts)
    lessons = _lessons(kept, more, rows)
    backbone, fields = backbone_of(student)
    told = NOTES[lang]["teacher"].format(name=source.name)
    both = (*lessons, *(rows.texts if rows is not None else ()))
    nobody = np.full(len(both), np.nan)
    ask(source, kept, both, nobody, write=kept.path is not None, tell=lambda share: tell.update(told, share))
    order = np.random.default_rng(seed).permutation(len(lessons))
    count = int(np.clip(round(HELD * len(lessons)), 10, MOST_HELD))
    held, learnt = ([lessons[i] for i in np.sort(part)] for part in (order[:count], order[count:]))
    known = _Known(own, source, kept, rows, learnt)
    settings = {"learning_rate": learning_rate, "train_layers": train_layers}
    given = {name: value for name, value in settings.items() if value is not None}
    data, chosen = known.data({"temperature": temperature, "alpha": alpha, **given}, epochs)
    job = method("distill", own.task.kind).plan(own.task, backbone, data, seed, **chosen)
    trunk = Trunk(backbone, precision, own.task.max_tokens)
    fit = NOTES[lang]["final fit"]
    path: Any = Engine(trunk, len(own.labels), lambda share: tell.update(fit, share)).fit(job)
    agreement = _agreement(own, path, held, kept.of(held), seed)
    about = {
        "teacher": source.name,
        "texts": len(learnt),
        "labelled": 0 if rows is None else len(rows),
        "held_out": len(held),
        "agreement": {name: figure.to_dict() for name, figure in agreement.items()},
    }
    kind: Any = FittedModel if own.labels else FittedWriter
    columns = {key: own.manifest["task"].get(key) for key in COLUMNS}
    made = {"columns": {k: v for k, v in columns.items() if v is not None}, "distilled": about}
    model: Model = kind(own.task, path, method="distill", backbone=fields, made=made, card=_card(about, student))
    if out is not None:
        model.save(Path(out) / MODEL)
    return model


@dataclasses.dataclass(frozen=True)
class _Known:
    """What the student may learn from: the model whose task it is, the teacher, its answers, labelled rows, texts."""

    own: Model
    source: Teacher
    kept: Kept
    rows: Examples | None
    texts: Sequence[str]

    def data(self, settings: dict[str, Any], epochs: int | None) -> tuple[TransferData, dict[str, Any]]:
        """The same as methods take it, with the settings that belong to it."""
        texts, rows = tuple(self.texts), self.rows
        passes = {} if epochs is None else {"taught_epochs": epochs}
        if isinstance(self.own.task, Classify):
            every = tuple(dict.fromkeys((*texts, *(rows.texts if rows is not None else ()))))
            taught = Taught(every, self.kept.of(every).astype(np.float32))
            target = Examples((), ()) if rows is None else rows
            data = TransferData(target, unlabelled=Examples(texts), teachers={"teacher": taught})
            return data, {**settings, "taught_limit": max(len(texts), 1), **passes}
        answers = self.kept.of(texts)
        said = [i for i, answer in enumerate(answers) if str(answer).strip()]
        pairs = Examples(tuple(texts[i] for i in said), tuple(str(answers[i]) for i in said), origin=self.source.name)
        target = pairs if rows is None else rows
        path = self._readable
        place = "" if self.kept.path is None else str(self.kept.path.parent / "foretold")
        if not place:
            path = None  # what it foretells at every token is kept on the disk alone
        taught = Taught(pairs.texts, as_answers(pairs.labels or ()), path, path and target, self.source.about, place)
        if rows is None:  # what the teacher wrote is all there is to learn
            teachers = {} if path is None else {"teacher": taught}
            return TransferData(target, teachers=teachers), settings | ({} if epochs is None else {"epochs": epochs})
        passes = {} if epochs is None else {"source_epochs": epochs}
        data = TransferData(target, unlabelled=pairs.unlabelled(), teachers={"teacher": taught})
        return data, {**settings, "written_limit": max(len(pairs), 1), **passes}

    @property
    def _readable(self) -> Any:
        """The teacher's path, where it can be read token by token; else None."""
        if not self.source.there or not isinstance(self.source.model.path, WriterPath):
            return None
        return self.source.model.path


def _source(teacher: str | Path | Model | Cascade, out: Path | None) -> tuple[Teacher, Kept, Model]:
    """Who is asked, what it has answered, and the model whose task is learnt."""
    if isinstance(teacher, str | Path) and is_cascade(teacher):
        teacher = load_cascade(teacher)
    if isinstance(teacher, Cascade):
        return teacher.teacher, teacher.kept, teacher.student
    own = as_model(teacher)
    place = model_place(teacher) if isinstance(teacher, str | Path) else None
    source = Teacher(str(teacher) if place else own.method, given=own, places=[place] if place else [])
    if out is not None:
        _make(out)
    return source, Kept(None if out is None else out / FILE, source.name, source.about, own.labels), own


def _make(out: Path) -> None:
    """The folder, unless it holds something else."""
    ours = (out / FILE).exists() or (out / MODEL).exists()
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not ours)):
        raise OutputError(
            f"{out}: holds something that transfuse did not write",
            expected=f"no such folder, an empty one, or one with {FILE} or {MODEL}",
            remedy="Choose another folder.",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or error}", expected="a folder that can be written") from error


def _lessons(kept: Kept, more: Sequence[str], rows: Examples | None) -> list[str]:
    """What was asked before and what is new, each once; nothing that a threshold was chosen by, or that has a label."""
    left_out = {*kept.texts(VALIDATION), *(rows.texts if rows is not None else ())}
    found = [text for text in dict.fromkeys((*kept.texts(USE), *more)) if text not in left_out]
    if len(found) < LEAST:
        raise DataError(
            f"{len(found)} texts to learn from the teacher: {len(kept.texts(USE))} that it has answered before, "
            f"{len(more)} that are new; those that a threshold was chosen by, or that have a label, do not count",
            expected=f"at least {LEAST}; some thousand are better",
            remedy="Give more with --texts; they need no labels.",
        )
    return found


def _agreement(own: Model, path: Any, texts: Sequence[str], said: np.ndarray, seed: int) -> dict[str, Interval]:
    """How often the student says what its teacher says, on texts that it has not learnt; sets its temperature, too."""
    found = says(path, texts)
    if own.labels:
        likely = said.argmax(1)
        path.temperature *= best_temperature(found, likely, bounds=BOUNDS)
        return metric_intervals(likely, np.exp(found), seed=seed, names=["accuracy"])
    expected = as_expected(texts, [str(answer) for answer in said])
    return metric_intervals(expected, found, seed=seed, names=["exact_match", "chrf"])


def _card(about: dict[str, Any], student: str) -> str:
    """A few lines for whoever finds the folder."""
    figures = "\n".join(
        f"- {name}: {f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f})" for name, f in about["agreement"].items()
    )
    return (
        f"# A student of {about['teacher']}\n\n{student}, trained on what its teacher said of {about['texts']} texts, "
        f"and on {about['labelled']} labelled rows. Agreement with the teacher on {about['held_out']} texts that were "
        f"held out, with 95 % intervals:\n\n{figures}\n\nHow right the teacher is, this does not say.\n"
    )
