"""Teacher beside student on the test: quality, agreement, where they differ, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.turns import unmarked
from transfuse.engine.taught import Taught
from transfuse.evaluation import compare, metric_intervals, ratio_interval
from transfuse.study.workshop import Workshop
from transfuse.tasks.classify import Classify

DIFFER = 6
"""Texts on which they differ that the report shows."""
MANY = 10_000
"""Answers whose cost the report tells."""
TIMED = 64
"""Texts by which the student is timed."""


def beside(
    name: str, path: Any, answers: np.ndarray, test: Examples, workshop: Workshop, precision: str
) -> dict[str, Any]:
    """The teacher's figures on the test beside those of its student.

    Args:
        name: of the source that teaches.
        path: of the student.
        answers: the student's, to the test.
        test: the examples.
        workshop: knows the teacher.
        precision: that the student answers in.
    """
    task, taught = workshop.data.task, workshop.taught[name]
    seed, expected = workshop.recipe.seed, task.encode(test)
    found, each = _asked(taught, test.texts)
    own, other = task.judged(answers), task.judged(found)
    started = time.perf_counter()
    workshop.answers(path, test.texts[:TIMED], precision)
    student = (time.perf_counter() - started) / min(len(test), TIMED)
    same = _same(task, answers, found)
    groups = test.groups
    figures = metric_intervals(expected, other, seed=seed, names=task.metrics, groups=groups)
    agreement = ratio_interval(np.stack([same, np.ones(len(same))], 1).astype(float), seed=seed, groups=groups)
    return {
        "name": name,
        "test": {k: v.to_dict() for k, v in figures.items()},
        "difference": compare(expected, own, other, metric=task.metric, seed=seed, groups=groups).to_dict(),
        "agreement": agreement.to_dict(),
        "differ": _where(task, np.flatnonzero(~same)[:DIFFER], answers, found, test),
        "student": _about(path, student),
        "teacher": _about(taught.path, each),
    }


def _asked(taught: Taught, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """The teacher's answers to texts, and seconds of each."""
    assert taught.ask is not None
    started = time.perf_counter()
    found = taught.ask(texts)
    return np.asarray(found), (time.perf_counter() - started) / max(len(texts), 1)


def _same(task: Any, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether both give the same label, or the same text, bool [N]."""
    if isinstance(task, Classify):
        same: np.ndarray = one.argmax(1) == other.argmax(1)
        return same
    return np.array([str(a).split() == str(b).split() for a, b in zip(one, other, strict=True)], dtype=bool)


def _where(task: Any, rows: np.ndarray, answers: np.ndarray, found: np.ndarray, test: Examples) -> list[dict[str, str]]:
    def said(given: np.ndarray, row: int) -> str:
        return task.labels[int(given[row].argmax())] if isinstance(task, Classify) else str(given[row])

    labels = test.labels or ()
    return [
        {"text": unmarked(test.texts[i]), "expected": labels[i], "student": said(answers, i), "teacher": said(found, i)}
        for i in map(int, rows)
    ]


def _about(path: Any, seconds: float) -> dict[str, Any]:
    """Size and speed of one side; what an answer costs where it is paid for."""
    backbone = getattr(path, "backbone", None)
    parameters = getattr(backbone, "parameters", None)
    return {
        "parameters": parameters,
        "memory_mib": None if parameters is None else round(parameters * 4 / 2**20),
        "texts_a_second": float(f"{1 / max(seconds, 1e-9):.3g}"),
        "seconds_of_10000": float(f"{seconds * MANY:.3g}"),
        "money_of_10000": _money(path),
    }


def _money(path: Any) -> float | None:
    """What 10,000 answers cost of a model behind an API, by those that were paid."""
    spent = getattr(path, "spent", None)
    return None if not spent or not spent[0] else float(f"{spent[1] / spent[0] * MANY:.4g}")
