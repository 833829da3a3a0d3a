"""A cascade as a model: the student answers where it is confident, the teacher elsewhere, and what it says is kept."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.errors import ModelError, OutputError
from transfuse.evaluation.cascade import as_json
from transfuse.fitted import artifact, model
from transfuse.fitted.answering import fingerprint, order_of, says, says_surely
from transfuse.fitted.kept import FILE, USE, Kept
from transfuse.fitted.model import FittedModel
from transfuse.fitted.parts import parts, refuse_what_is_no_text
from transfuse.fitted.written import PRECISIONS, FittedWriter
from transfuse.tasks import Task

FORMAT = 1
MANIFEST, STUDENT, TEACHER = "cascade.json", "student", "teacher"
PART = 64
"""Texts that a teacher is asked about before its answers are kept: what a kill loses at most."""

Model = FittedModel | FittedWriter


@dataclasses.dataclass(frozen=True)
class Answered:
    """What a cascade says of N texts, and who said it.

    Args:
        says: probabilities float64 [N, C], or written answers, object [N].
        teacher: bool [N], where the answer is the teacher's.
        confidence: of the student, float64 [N]; not a number where it was not asked.
        asked: texts that the teacher was asked about now; it had answered the others before.
    """

    says: np.ndarray
    teacher: np.ndarray
    confidence: np.ndarray
    asked: int


class Teacher:
    """The model that is asked in doubt, loaded when it first is.

    Args:
        name: as the user wrote it.
        about: its fingerprint.
        given: the model, or None to load it from the first of ``places`` that is there.
        places: folders of a fitted model.
    """

    def __init__(self, name: str, about: str = "", given: Model | None = None, places: Sequence[Path] = ()) -> None:
        self.name, self.places = name, tuple(places)
        self._given = given
        self.about = about or (fingerprint(given) if given is not None else "")

    @property
    def there(self) -> bool:
        """Whether it can be asked."""
        return self._given is not None or any((p / artifact.MANIFEST).exists() for p in self.places)

    @property
    def model(self) -> Model:
        """The teacher itself.

        Raises:
            ModelError: it is gone, or not the one that the threshold was chosen with.
        """
        if self._given is None:
            place = next((p for p in self.places if (p / artifact.MANIFEST).exists()), None)
            if place is None:
                raise ModelError(
                    f"the cascade's teacher {self.name} is not in {' or '.join(str(p) for p in self.places)}",
                    expected="the folder of the fitted model that the cascade was made with",
                    remedy="Bring it back, or make the cascade again.",
                )
            found = model.load(place)
            if fingerprint(found) != self.about:
                raise ModelError(
                    f"{place}: not the teacher that the cascade was made with",
                    expected=f"the model with the fingerprint {self.about[:12]}…",
                    remedy="Bring it back, or make the cascade again: the threshold holds for that teacher alone.",
                )
            self._given = found
        return self._given


def ask(
    teacher: Teacher,
    kept: Kept,
    texts: Sequence[str],
    confidence: np.ndarray,
    *,
    precision: str = "fp32",
    purpose: str = USE,
    write: bool = True,
    tell: Callable[[float], None] = lambda _: None,
) -> int:
    """Have a teacher answer what it has not answered yet; see `Kept.of` for the answers.

    Args:
        teacher: who is asked, part by part.
        kept: where its answers go, each part before the next is asked.
        texts: N texts.
        confidence: of a student in each, float64 [N]; not a number where there is none.
        precision: of the teacher.
        purpose: that the answers are kept under.
        write: whether they go to the disk.
        tell: told of the share that is done.

    Returns:
        How many texts were asked about.

    Raises:
        OutputError: they cannot be kept; the teacher has not been asked then.
    """
    kept.refresh()
    new = {text: sure for text, sure in zip(texts, confidence, strict=True) if text not in kept}
    if not new:
        return 0
    if write:
        kept.ready()
    known = teacher.model
    order = order_of(known.labels, kept.labels, teacher.name) if kept.labels else None
    every = list(new)
    for start in range(0, len(every), PART):
        part = every[start : start + PART]
        tell(start / len(every))
        began = time.perf_counter()
        said = says(known.path, part, precision, order)
        seconds = time.perf_counter() - began
        kept.add(part, said, np.array([new[text] for text in part]), seconds, purpose, write=write)
    return len(every)


class Cascade:
    """Answers with the student, and with the teacher where the student's confidence is below the threshold.

    Args:
        student: a fitted model that can say how sure it is: a classifier, or a decoder that writes.
        teacher: what is asked in doubt.
        threshold: minus infinity never asks, infinity asks nobody else.
        figures: what the threshold was chosen by: ``goal``, ``metric``, ``curve``, ``prices``, ``figures`` and so on.
        folder: where it lies, and the teacher's answers are kept; None keeps them in memory until `save`.

    Attributes:
        answered: texts so far, by ``student`` and by ``teacher``; and those that the teacher was ``asked`` about.
        kept: the teacher's answers.
    """

    def __init__(
        self,
        student: Model,
        teacher: Teacher | Model,
        threshold: float,
        *,
        figures: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.student = student
        self.teacher = teacher if isinstance(teacher, Teacher) else Teacher(teacher.method, given=teacher)
        self.threshold, self.figures, self.folder = float(threshold), dict(figures or {}), folder
        file = None if folder is None else folder / FILE
        self.kept = Kept(file, self.teacher.name, self.teacher.about, student.labels)
        self.answered = {"student": 0, "teacher": 0, "asked": 0}

    @property
    def task(self) -> Task:
        """What is asked: the student's task."""
        return self.student.task

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities' columns; empty where answers are written."""
        return tuple(self.student.labels)

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of cascade.json, the teacher's place aside; ``task`` as in the student's manifest."""
        return {
            "format": FORMAT,
            "task": self.student.manifest["task"],
            "student": STUDENT,
            "threshold": as_json(self.threshold),
            **self.figures,
        }

    def answer(
        self, texts: Sequence[str], *, precision: str = "fp32", keep: bool = True, purpose: str = USE
    ) -> Answered:
        """Answers to N texts, with who gave each.

        Args:
            texts: N texts.
            precision: ``fp32`` or ``bf16``, of both.
            keep: whether what the teacher answers is written to kept.jsonl, before it is used.
            purpose: `USE`; or `VALIDATION` of texts by which a model is judged, which no student shall learn.

        Raises:
            ModelError: an item is no string, an unknown precision, or a teacher that is gone.
            OutputError: what the teacher answers cannot be kept; it has not been asked then.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"precision '{precision}'", expected=f"{' or '.join(PRECISIONS)} for a cascade")
        refuse_what_is_no_text(texts)
        sure = np.full(len(texts), np.nan)
        found = self._empty(len(texts))
        if self.threshold < np.inf and len(texts):
            told = [says_surely(self.student.path, part, precision) for part in parts(texts)]
            found, sure = (np.concatenate([one[side] for one in told]) for side in (0, 1))
        doubtful = ~(sure >= self.threshold)
        wanted = [text for text, doubt in zip(texts, doubtful, strict=True) if doubt]
        asked = ask(self.teacher, self.kept, wanted, sure[doubtful], precision=precision, purpose=purpose, write=keep)
        if wanted:
            found[doubtful] = self.kept.of(wanted)
        self.answered["student"] += int((~doubtful).sum())
        self.answered["teacher"] += int(doubtful.sum())
        self.answered["asked"] += asked
        return Answered(found if found.dtype == object else np.exp(found), doubtful, sure, asked)

    def _empty(self, count: int) -> np.ndarray:
        return np.zeros((count, len(self.labels))) if self.labels else np.full(count, "", dtype=object)

    def predict(self, texts: Sequence[str], *, precision: str = "fp32") -> list[str]:
        """The label of each text, or the answer to it; see `answer`."""
        found = self.answer(texts, precision=precision).says
        return [self.labels[i] for i in found.argmax(1)] if self.labels else [str(one) for one in found]

    def predict_proba(self, texts: Sequence[str], *, precision: str = "fp32") -> np.ndarray:
        """Probabilities of the classes, float64 [N, C], each row of whoever answered it; see `answer`.

        Raises:
            ModelError: a cascade that writes.
        """
        if not self.labels:
            raise ModelError("predict_proba of a cascade that writes", expected="predict")
        return self.answer(texts, precision=precision).says

    def save(self, folder: str | Path) -> Path:
        """Write cascade.json, the student, the teacher where it has no folder of its own, and what it has answered.

        A fitted teacher stays where it is and is named. The file cascade.json comes last: without it a folder is none.

        Raises:
            OutputError: the place cannot be written, or holds something that is no cascade.
        """
        target = Path(folder)
        refuse_foreign(target)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(target, error) from error
        self.student.save(target / STUDENT)
        place = self._teachers_place()
        if place is None:
            self.teacher.model.save(target / TEACHER)
            place = (target / TEACHER).resolve()
        if self.kept.path != target / FILE:
            self.kept = self.kept.copied(target / FILE)
        near = os.path.relpath(place, target.resolve())
        named = {"name": self.teacher.name, "about": self.teacher.about, "folder": near, "absolute": str(place)}
        _replace(target / MANIFEST, {**self.manifest, "teacher": named})
        self.folder = target
        return target

    def _teachers_place(self) -> Path | None:
        """Where the teacher lies on its own; None where it is a part of the cascade."""
        there = [p.resolve() for p in self.teacher.places if (p / artifact.MANIFEST).exists()]
        own = self.folder is not None and there[:1] == [(self.folder / TEACHER).resolve()]
        return there[0] if there and not own else None


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something else than a cascade, finished or not.

    Raises:
        OutputError: it does.
    """
    ours = ((folder / MANIFEST).exists() or (folder / FILE).exists()) if folder.is_dir() else not folder.exists()
    if not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"{folder}: holds something that is no cascade",
            expected=f"no such folder, an empty one, or one with {MANIFEST} or {FILE}",
            remedy="Choose another folder.",
        )


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    scratch = file.with_name(f".{file.name}.partial")
    try:
        with scratch.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error


def _unwritable(place: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{place}: cannot be written: {error.strerror or error}",
        expected="a folder that can be written, with room for the student",
        remedy="Choose another folder or free the disk.",
    )


def is_cascade(folder: str | Path) -> bool:
    """Whether a folder is a cascade's."""
    return (Path(folder) / MANIFEST).exists()


def load_cascade(folder: str | Path) -> Cascade:
    """Load a cascade from the folder that `Cascade.save` wrote; its teacher is loaded when it is first asked.

    Raises:
        ModelError: no cascade, a newer format, or a damaged student.
    """
    place = Path(folder)
    file = place / MANIFEST
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        number = fields.pop("format")
        if number != FORMAT:
            raise ModelError(
                f"{file}: format {number}",
                expected=f"format {FORMAT}, which this version of transfuse reads",
                remedy="Install the version of transfuse that wrote it, or a newer one.",
            )
        named = fields.pop("teacher")
        places = ((place / named["folder"]).resolve(), Path(named["absolute"]))
        teacher = Teacher(str(named["name"]), str(named["about"]), places=places)
        threshold = float(fields.pop("threshold"))
        student = model.load(place / fields.pop("student"))
        fields.pop("task")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{file}: not as transfuse wrote it: {type(error).__name__} {error}",
            expected="the folder of a cascade",
            remedy="Copy the folder again, or make the cascade again.",
        ) from error
    return Cascade(student, teacher, threshold, figures=fields, folder=place)


def load(folder: str | Path) -> FittedModel | FittedWriter | Cascade:
    """Load a fitted model, or a cascade of two, from the folder that ``save`` wrote.

    A backbone is loaded when a prediction first needs it, and refused if its content is not what the model was fitted
    on.

    Raises:
        ModelError: neither is there, a newer format, a damaged file, or a backbone that has changed.
    """
    return load_cascade(folder) if is_cascade(folder) else model.load(folder)
