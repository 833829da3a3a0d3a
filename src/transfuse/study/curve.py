"""Quality on the test against the number of target labels, with the chosen transfer and without it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.data import draw_shots
from transfuse.data.examples import Examples
from transfuse.engine.ledger import Ledger, read_json
from transfuse.errors import StudyError
from transfuse.evaluation import compare, metric_intervals, metric_of
from transfuse.evaluation.curve import labels_for
from transfuse.methods.catalogue import LABELS, no_transfer
from transfuse.study.decide import obey
from transfuse.study.prepare import StudyData, prepare
from transfuse.study.progress import NOTES, Progress, Silent
from transfuse.study.recipe import Recipe
from transfuse.study.record import REPORT
from transfuse.study.splitting import strata
from transfuse.study.teaching import teach
from transfuse.study.workshop import Workshop

SHOTS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Labels a class, as far as there are so many."""
ANSWERS = (25, 50, 100, 200, 500, 1000)
"""The same where answers are written."""
MOST_LABELS = 4096
DRAWS = 3


def add_curve(recipe: Recipe, folder: Path, *, lang: str = "en", progress: Progress | None = None) -> dict[str, Any]:
    """Fit the chosen candidate and its counterpart on more and fewer labels, and put the curve into report.json.

    Nothing is chosen by it: it reads the test of a study that has ended. Where the recipe draws ``shots``, the labels
    that it set aside are used, so that the curve goes on beyond them. Each point is what a study with so many ``shots``
    would fit: rows that are not drawn are unlabelled texts, unless the recipe names some; teachers say what they said
    in the study. Stopped, it goes on where it stopped.

    Args:
        recipe: of the study.
        folder: of its results.
        lang: of what is told.
        progress: told what happens.

    Returns:
        The report, with ``curve``.

    Raises:
        StudyError: no study has ended in the folder, no transfer was chosen, or one that learns from no label.

    Cost: two fits for each number of labels and draw; of an ensemble, those of all its members.
    """
    say, progress = NOTES.get(lang, NOTES["en"]), progress or Silent()
    report = read_json(folder / REPORT)
    if report is None:
        raise StudyError(f"{folder}: no study has ended here", expected=REPORT, remedy="Run the recipe first.")
    if "curve" in report:
        return report
    arms = arms_of(report)
    data = prepare(recipe.model_copy(update={"target": recipe.target.model_copy(update={"shots": None})}))
    with contextlib.closing(Ledger(folder)) as ledger:
        workshop = Workshop(recipe, data, say, trainings=ledger.trainings)
        obey(ledger.plan or {}, workshop)
        if any(source.teaches for source in recipe.sources):  # of the study's own texts, so that all is known
            note = _noted(progress, say["teacher"])
            told = teach(recipe, prepare(recipe), workshop, ledger, note)
            workshop.taught = {name: dataclasses.replace(t, known=t.known and data.train) for name, t in told.items()}
        report["curve"] = _curve(arms, data, workshop, ledger, recipe, progress)
        ledger.write_json(folder / REPORT, report)
        shutil.rmtree(ledger.trainings, ignore_errors=True)
    return report


def arms_of(report: Mapping[str, Any]) -> dict[str, Candidate]:
    """``with``: the chosen candidate; ``without``: the same without its sources, or no transfer where it has none.

    Raises:
        StudyError: no transfer was chosen, so there is nothing to compare; or a teacher was, which no label changes.
    """
    known = {c["id"]: c for c in report["candidates"]}
    chosen = known[report["chosen"]]
    if _teaches(chosen):
        raise StudyError(
            f"the study chose {chosen['id']}: a teacher answers the same with few labels as with many",
            expected="a transfer that learns from labels",
            remedy="Leave --curve out, or let a student learn from the teacher (method distill).",
        )
    kinds = {t["kind"]: t["against"] for t in chosen["transfer"] if t["against"] in known}
    if chosen["method"] == no_transfer(report.get("task", {}).get("kind", LABELS)) or not kinds:
        raise StudyError(
            "the study chose no transfer", expected="a transfer, to be compared with none", remedy="Try other sources."
        )
    without = known[kinds.get("without source") or kinds["no transfer"]]
    return {"with": Candidate.from_dict(chosen), "without": Candidate.from_dict(without)}


def _teaches(candidate: Mapping[str, Any]) -> bool:
    """Whether a candidate is a teacher itself, or an ensemble with one."""
    return candidate["method"] == "teacher" or any(map(_teaches, candidate.get("members", ())))


def _noted(progress: Progress, words: str) -> Callable[[str, float], None]:
    return lambda name, share: progress.update(words.format(name=name), share)


def _curve(
    arms: Mapping[str, Candidate],
    data: StudyData,
    workshop: Workshop,
    ledger: Ledger,
    recipe: Recipe,
    progress: Progress,
) -> dict[str, Any]:
    pool = data.splits.fits[0][1] if data.splits.kind == "split" else np.arange(len(data.train))
    names = [strata(data.task, data.train)[i] for i in pool]
    classes = len(set(names))
    fewest = min(names.count(name) for name in set(names))
    steps = SHOTS if data.task.labels else ANSWERS
    sizes = [s for s in sorted({*steps, recipe.target.shots or steps[0]}) if s <= fewest and s * classes <= MOST_LABELS]
    test = data.test.open()
    truth = data.task.encode(test)
    seed, metric = recipe.seed, data.task.metric
    points = []
    for number, size in enumerate(sizes):
        found = {}
        for arm, candidate in arms.items():
            progress.update(f"{size * classes} labels, {candidate.id}", number / len(sizes))
            draws = [pool[draw_shots(names, size, draw)] for draw in range(DRAWS)]
            each = []
            for d, rows in enumerate(draws):
                workshop.data = dataclasses.replace(
                    data, unlabelled=_unlabelled(recipe, data, np.setdiff1d(pool, rows))
                )
                each.append(_predicted(candidate, (size, d), rows, test, workshop, ledger))
            found[arm] = np.stack(each)
        figures = {
            arm: metric_intervals(truth, said, seed=seed, names=[metric], groups=test.groups)[metric]
            for arm, said in found.items()
        }
        difference = compare(truth, found["with"], found["without"], metric=metric, seed=seed, groups=test.groups)
        points.append(
            {
                "shots": size,
                "labels": size * classes,
                **{arm: figure.to_dict() for arm, figure in figures.items()},
                "comparison": difference.to_dict(),
            }
        )
    found_all = {"metric": metric, "draws": DRAWS, "points": points, **{arm: c.id for arm, c in arms.items()}}
    return {
        **found_all,
        **worth(points, (recipe.target.shots or sizes[len(sizes) // 2]) * classes, metric_of(metric)[1]),
    }


def _unlabelled(recipe: Recipe, data: StudyData, left: np.ndarray) -> Examples | None:
    """The texts without labels, as in a study: those that the recipe names, else the rows that were not drawn."""
    if recipe.target.unlabelled or not len(left):
        return data.unlabelled
    return data.train.take(left).unlabelled()


def worth(points: list[dict[str, Any]], at: int, greater: bool) -> dict[str, Any]:
    """What the curve says: labels saved at a number of labels, labels to reach what all labels reach without transfer.

    Returns:
        ``at``: the number of labels asked about, ``equal``: as many without the transfer reach the same, None where
        all are too few; ``last``: all labels, ``sooner``: as many with the transfer reach what they do without. The
        fewest labels of the curve mean so many or fewer: nothing is known of less.
    """
    sign = 1 if greater else -1
    labels = [p["labels"] for p in points]
    gained, plain = ([sign * p[arm]["value"] for p in points] for arm in ("with", "without"))
    place = min(range(len(points)), key=lambda i: abs(labels[i] - at))
    return {
        "at": labels[place],
        "equal": labels_for(labels, plain, gained[place]),
        "last": labels[-1],
        "sooner": labels_for(labels, gained, plain[-1]),
    }


def _predicted(
    candidate: Candidate,
    which: tuple[int, int],
    rows: np.ndarray,
    test: Examples,
    workshop: Workshop,
    ledger: Ledger,
) -> np.ndarray:
    """Probabilities [N, C], or answers [N], of the test after a fit on some rows, or those that were kept."""
    name = f"curve.{which[0]}.{which[1]}.{candidate.id}"
    task = workshop.data.task
    if not ledger.has_predictions(name):
        found = workshop.said(candidate, workshop.fit(candidate, rows), test.texts)
        ledger.write_predictions(name, task.columns(found))
    return task.judged(task.from_columns(ledger.read_predictions(name)))
