"""Arms of a comparison where answers are written: each is fitted once and answers the same tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import transfuse
from transfuse.advice.candidates import Candidate
from transfuse.data import Examples
from transfuse.evaluation import compare, metric_intervals
from transfuse.methods.catalogue import method
from transfuse.study.prepare import prepare
from transfuse.study.progress import NOTES
from transfuse.study.workshop import Workshop


class Arm(NamedTuple):
    """One way: a method, its settings, and whether it learns from the recipe's sources."""

    method: str
    settings: Mapping[str, Any]
    sources: bool = False


def answered(
    text: str, place: Path, arms: Mapping[str, Arm], tests: Mapping[str, Examples], backbone: str
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, float], dict[str, Examples]]:
    """The answers of each arm to each test, the seconds of each, and the tests with the recipe's own as ``test``."""
    recipe = transfuse.Recipe.from_text(text, place, "benchmark")
    data = prepare(recipe)
    workshop = Workshop(recipe, data, NOTES["en"])
    asked = {"test": data.test.open(), **tests}
    found: dict[str, dict[str, np.ndarray]] = {}
    seconds = {}
    for name, arm in arms.items():
        about = method(arm.method, data.task.kind)
        sources = tuple(data.sources) if arm.sources else ()
        reads = "" if about.reads == "nothing" else backbone
        candidate = Candidate(name, about.family, arm.method, reads, sources, dict(arm.settings), kind=data.task.kind)
        began = time.perf_counter()
        path = workshop.final(candidate)
        precision = workshop.precision(reads)
        found[name] = {test: workshop.answers(path, rows.texts, precision) for test, rows in asked.items()}
        seconds[name] = round(time.perf_counter() - began, 1)
        print(name, seconds[name], {t: list(a[:2]) for t, a in found[name].items()}, flush=True)
    return found, seconds, asked


def figures(
    task: Any, rows: Examples, answers: Mapping[str, np.ndarray], names: Sequence[str], against: Mapping[str, str]
) -> dict[str, Any]:
    """Metrics of each arm with intervals, and comparisons: arm -> the arm that it is measured against.

    Groups of the rows are resampled whole.
    """
    expected = task.encode(rows)
    metric = names[0]
    drawn: Any = {"seed": 0, "groups": rows.groups}
    return {
        "rows": len(rows),
        "arms": {
            arm: {k: v.to_dict() for k, v in metric_intervals(expected, found, names=names, **drawn).items()}
            for arm, found in answers.items()
        },
        "compared": {
            arm: {
                "against": other,
                **compare(expected, answers[arm], answers[other], metric=metric, **drawn).to_dict(),
            }
            for arm, other in against.items()
        },
    }
