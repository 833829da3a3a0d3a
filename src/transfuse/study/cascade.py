"""A cascade out of a student and a teacher: both answer labelled rows, and these choose where the border is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.backbones.remote.purse import Purse
from transfuse.data.examples import Examples
from transfuse.errors import OutputError, UsageError
from transfuse.evaluation import Evidence, Goal, cascade_curve, choose, crossfit, evidence
from transfuse.fitted.answering import says_surely
from transfuse.fitted.cascade import Cascade, ask, refuse_foreign
from transfuse.fitted.kept import VALIDATION
from transfuse.study.asking import Model, as_model, teacher_of
from transfuse.study.labelled import label_positions, read_answered, read_labelled
from transfuse.study.progress import NOTES, Progress, Silent

SECONDS, MONEY = "seconds", "price"
"""What costs are in: measured on this machine, or what the user said."""


def cascade(
    student: str | Path | Model,
    teacher: str | Path | Model,
    data: str | Examples,
    out: str | Path,
    *,
    quality: float | None = None,
    cost: float | None = None,
    share: float | None = None,
    examples: str | Examples | None = None,
    shots: int = 8,
    price_student: float | None = None,
    price_teacher: float | None = None,
    money: float | None = None,
    tokens: int | None = None,
    label: str | None = None,
    input: str | None = None,
    seed: int = 0,
    lang: str = "en",
    progress: Progress | None = None,
) -> Cascade:
    """Let a student answer where it is confident and a teacher elsewhere, by a threshold chosen on labelled rows.

    Args:
        student: a fitted model or its folder: a classifier, or a decoder that writes.
        teacher: the same, or a backbone's reference, which is prompted with the student's task.
        data: labelled rows that neither has learnt from: a reference, or examples.
        out: the cascade's folder. What the teacher answers is kept there at once, so that a stopped call goes on.
        quality: the cheapest threshold that is shown to reach this much of the task's metric.
        cost: the best quality for at most so much an answer, in the unit of the prices.
        share: the best quality while the teacher is asked of at most this share. At most one of the three; without
            any, the cheapest threshold that is not shown to be worse than the teacher.
        examples: labelled rows that a prompted teacher is shown.
        shots: so many of them.
        price_student, price_teacher: of one answer, in any unit; without them costs are seconds on this machine.
        money, tokens: what a remote teacher may be paid in all for these rows, in US dollars and tokens; it needs one.
        label, input: columns of the data, where they differ from those of the student's task.
        seed: of folds, resamples and demonstrations.
        lang: of what the progress says, ``en`` or ``zh``.
        progress: told what is done.

    Returns:
        The cascade, saved. ``figures`` holds the curve, the choice, and figures on rows that did not choose.

    Raises:
        UsageError: two goals, a price of the student alone, or examples for a teacher that is fitted.
        DataError: rows that cannot be used, or a goal that no threshold reaches.
        ModelError, BackboneError: a student or a teacher that cannot be used.
        OutputError: the place cannot be written, or holds something else.

    Example:
        >>> made = transfuse.cascade("runs/small", "runs/big", "labelled.csv", "both", share=0.2)  # doctest: +SKIP
        >>> made.predict(["Arrived broken."])  # doctest: +SKIP
    """
    goal, tell = _goal(quality, cost, share), progress or Silent()
    if price_student is not None and price_teacher is None:
        raise UsageError("a price of the student alone", expected="the teacher's too", remedy="Add --price-teacher.")
    folder = Path(out)
    refuse_foreign(folder)
    own = as_model(student)
    rows = labelled(own, data, label, input)
    shown = None if examples is None else labelled(own, examples, label, input, judges=False)
    purse = None if money is None and tokens is None else Purse.of(f"cascade {folder.resolve()}", money, tokens)
    knows = teacher_of(teacher, own.task, _others(shown, rows), shots, seed, purse)
    _make(folder)
    made = Cascade(own, knows, -np.inf, folder=folder)
    found, sure, seconds = _by_student(own, rows)
    _ask(made, rows, sure, tell, lang)
    if price_teacher is not None:
        prices: dict[str, Any] = {"unit": MONEY, "student": price_student or 0.0, "teacher": price_teacher}
    else:
        prices = {"unit": SECONDS, "student": seconds, "teacher": made.kept.seconds(rows.texts)}
    task: Any = own.task
    expected = label_positions(rows, own.labels) if own.labels else task.encode(rows)
    known = evidence(
        expected,
        task.judged(found),
        task.judged(made.kept.of(rows.texts)),
        sure,
        np.array([prices["student"], prices["teacher"]]),
        task.metric,
    )
    made.figures = {
        "teacher_is": knows.name,
        "data": data if isinstance(data, str) else data.origin,
        "rows": len(rows),
        "metric": task.metric,
        "goal": dataclasses.asdict(goal),
        "prices": prices,
        "seed": seed,
        **_chosen(made, known, goal, seed),
    }
    made.save(folder)
    return made


def _chosen(made: Cascade, known: Evidence, goal: Goal, seed: int) -> dict[str, Any]:
    """The threshold, set; with it the curve that it is on and the figures of rows that did not choose it."""
    points = cascade_curve(known, seed=seed)
    point = choose(points, goal, greater=known.greater)
    made.threshold = point.threshold
    return {
        "greater": known.greater,
        "chosen": point.to_dict(),
        "figures": crossfit(known, goal, seed=seed).to_dict(),
        "curve": [p.to_dict() for p in points],
    }


def _goal(quality: float | None, cost: float | None, share: float | None) -> Goal:
    asked: list[Goal] = []
    if quality is not None:
        asked.append(Goal("quality", quality))
    if cost is not None:
        asked.append(Goal("cost", cost))
    if share is not None:
        asked.append(Goal("share", share))
    if len(asked) > 1:
        raise UsageError(
            " and ".join(f"--{one.kind}" for one in asked) + " together",
            expected="one of --quality, --cost and --share, or none",
            remedy="State one; the curve shows what it gives of the others.",
        )
    return asked[0] if asked else Goal("teacher")


def labelled(
    own: Model, data: str | Examples, label: str | None, input: str | None, *, judges: bool = True
) -> Examples:
    """Labelled rows for a model, in the columns of its task unless others are named; see `read_answered`."""
    if isinstance(data, Examples):
        return data
    task = own.manifest["task"]
    if not own.labels:
        return read_answered(data, task, label, input, judges=judges)
    return read_labelled(data, task, own.labels, label or task.get("label"), input)


def _others(examples: Examples | None, rows: Examples) -> Examples | None:
    """Demonstrations without the texts that the teacher will be judged by."""
    if examples is None:
        return None
    judged = set(rows.texts)
    return examples.take([i for i, text in enumerate(examples.texts) if text not in judged])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made: {error.strerror or error}", expected="a folder that can be written"
        ) from error


def _by_student(own: Model, rows: Examples) -> tuple[np.ndarray, np.ndarray, float]:
    """The student's answers, its confidence, and the seconds of one."""
    says_surely(own.path, rows.texts[:2])  # loads, and reads what all prompts share
    began = time.perf_counter()
    found, sure = says_surely(own.path, rows.texts)
    return found, sure, float(f"{(time.perf_counter() - began) / len(rows):.3g}")


def _ask(made: Cascade, rows: Examples, sure: np.ndarray, tell: Progress, lang: str) -> None:
    """Have the teacher answer all rows that it has not answered before; each part is kept at once."""
    if any(text not in made.kept for text in rows.texts):
        _ = getattr(made.teacher.model.path, "backbone", None)  # loads it, which no answer takes the time of
    words = NOTES[lang]["teacher"].format(name=made.teacher.name)
    ask(made.teacher, made.kept, rows.texts, sure, purpose=VALIDATION, tell=lambda share: tell.update(words, share))
