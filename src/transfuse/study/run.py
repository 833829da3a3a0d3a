"""The main path of a study: data → plan → fit → compare → choose → save → report."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfuse.advice.candidates import TRAINED
from transfuse.advice.planner import Planned
from transfuse.engine.ledger import LEDGER, PLAN, Ledger, read_json
from transfuse.errors import OutputError
from transfuse.study.assess import Judge, assess
from transfuse.study.choice import choose
from transfuse.study.decide import AFTER, check_owner, decide, decide_again, obey
from transfuse.study.ensembles import ensembles
from transfuse.study.finish import MODEL, finish
from transfuse.study.fits import Fits
from transfuse.study.placebo import try_placebo
from transfuse.study.prepare import StudyData, prepare
from transfuse.study.progress import NOTES, Progress, Silent
from transfuse.study.recipe import Recipe
from transfuse.study.record import REPORT, report_of
from transfuse.study.settings import known_methods
from transfuse.study.teaching import teach
from transfuse.study.workshop import Workshop, validation_rows

if TYPE_CHECKING:
    import pandas

    from transfuse.fitted import FittedModel, FittedWriter


class Study:
    """A finished study.

    Attributes:
        report: the content of report.json.
        out: the folder of the results.
    """

    def __init__(self, report: dict[str, Any], out: Path) -> None:
        self.report, self.out = report, out

    @property
    def leaderboard(self) -> pandas.DataFrame:
        """One row a candidate, the best first: id, family, method, backbone, sources, status, metric, low, high, ..."""
        import pandas

        metric = self.report["metric"]
        rows = []
        for c in self.report["candidates"]:
            figure = c["validation"].get(metric, {})
            verdicts = {t["kind"]: t["verdict"] for t in c["transfer"]}
            rows.append(
                {
                    "id": c["id"],
                    "family": c["family"],
                    "method": c["method"],
                    "backbone": c["backbone"],
                    "sources": ", ".join(c["sources"]),
                    "status": c["status"],
                    metric: figure.get("value"),
                    "low": figure.get("low"),
                    "high": figure.get("high"),
                    "verdict": verdicts.get("no transfer", ""),
                    "source_verdict": verdicts.get("without source", ""),
                    "seconds": (c["seconds"] or {}).get("fit"),
                    "chosen": c["id"] == self.report["chosen"],
                }
            )
        table = pandas.DataFrame(rows)
        return table.sort_values(metric, ascending=False, na_position="last", ignore_index=True)

    @property
    def model(self) -> FittedModel | FittedWriter:
        """The chosen candidate's fitted model."""
        from transfuse.fitted.model import load

        return load(self.out / MODEL)


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    lang: str = "en",
    progress: Progress | None = None,
    keep: bool = True,
) -> Study:
    """Compare the transfers of a recipe under its budget, choose one on validation data, save it, read the test once.

    Stopped at any moment, the same call goes on: what was planned stays planned, what was fitted is not fitted again,
    and the figures are those of an undisturbed run.

    Args:
        recipe: a `Recipe` or the path of one.
        out: the folder of the results; ``runs/NAME`` by default.
        lang: language of the report, ``en`` or ``zh``.
        progress: told what happens.
        keep: whether what does not change is computed once; without it figures are the same, and the study slow.

    Returns:
        The study, with its report, its leaderboard and its model.

    Raises:
        RecipeError, DataError, AssetError, BackboneError: what the recipe names is wrong.
        OutputError: the folder cannot be written or belongs to another study.
        StudyError: no candidate could be fitted.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.from_file(recipe)
    progress = progress or Silent()
    known_methods(recipe)
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    _refuse_foreign(folder)
    data = prepare(recipe)
    with contextlib.closing(Ledger(folder)) as ledger:
        return _run(recipe, data, ledger, lang, progress, keep)


def _run(recipe: Recipe, data: StudyData, ledger: Ledger, lang: str, progress: Progress, keep: bool) -> Study:
    """`run` in a folder that is ours."""
    folder, say = ledger.folder, NOTES.get(lang, NOTES["en"])
    decided = ledger.plan
    if decided is not None:
        check_owner(decided, recipe, data, folder)
        finished = read_json(folder / REPORT)
        if finished is not None and (folder / MODEL).is_dir():
            progress.note(say["finished"].format(folder=folder))
            return Study(finished, folder)
        progress.note(say["going on"].format(folder=folder, seconds=ledger.seconds))

    def pulled(name: str, done: int, total: int | None) -> None:
        progress.update(say["download"].format(name=name), done / total if total else None)

    workshop = Workshop(recipe, data, say, pulled, keep=keep, trainings=ledger.trainings)
    if decided is not None:
        obey(decided, workshop)
    workshop.taught = teach(
        recipe, data, workshop, ledger, lambda name, share: progress.update(say["teacher"].format(name=name), share)
    )
    if decided is None:
        progress.note(say["timing"])
        decided = decide(recipe, data, workshop, ledger)
        for text in workshop.remotes.told(say["remote"]):
            progress.note(text)
    fits = Fits(data, workshop, ledger, progress, say)
    planned = obey(decided, workshop)
    progress.start(recipe.budget.minutes * 60, [p.candidate.id for p in planned if p.room is None])
    if not decided.get("settled"):  # what is cheap runs first: then more is known of the time that is left
        fits.run(planned if decided.get("again") else _cheap(planned), planned)
    while not decided.get("settled"):
        before = {p.candidate.id for p in planned if p.room is None}
        decided, now = decide_again(decided, recipe, data, workshop, ledger)
        if more := [identifier for identifier in now if identifier not in before]:
            progress.note(say["more"].format(ids=", ".join(more)))
        planned = obey(decided, workshop)
        fits.run(planned, planned)
    fitted = fits.run(planned, planned)
    labels = data.task.encode(data.train.take(validation_rows(data)))
    judge = _judge(data, labels, recipe.seed)
    assessed = assess(fitted, judge, data.task)

    def room() -> float:
        return recipe.budget.minutes * 60 - ledger.seconds - AFTER

    if recipe.ensembles or (recipe.ensembles is None and isinstance(recipe.methods, str)):
        assessed = assess([*fitted, *ensembles(assessed, labels, data, ledger, room(), recipe.seed)], judge, data.task)
    chosen, barred = choose(assessed, data.task.metric, recipe.gate)
    try_placebo(chosen, judge, fits, planned, ledger, room())
    progress.note(say["chosen"].format(id=chosen.candidate.id))
    ending = finish(chosen, assessed, data, workshop, ledger, progress)
    report = report_of(recipe, data, workshop, ledger, decided, assessed, chosen, barred, ending, lang)
    ledger.write_json(folder / REPORT, report)
    shutil.rmtree(ledger.trainings, ignore_errors=True)
    return Study(report, folder)


def _cheap(planned: list[Planned]) -> list[Planned]:
    """What stands before the first candidate that is trained, or, where that stands first, all that are not."""
    before = list(itertools.takewhile(lambda p: p.candidate.family not in TRAINED, planned))
    return before or [p for p in planned if p.candidate.family not in TRAINED]


def _judge(data: StudyData, labels: np.ndarray, seed: int) -> Judge:
    """Compares candidates on the validation rows, with the spread between splits; groups of rows stay together."""
    rows = validation_rows(data)
    place = {int(row): i for i, row in enumerate(rows)}
    fits = data.splits.fits
    parts = [(repeat, np.array([place[int(i)] for i in left_out])) for repeat, _, left_out in fits]
    ratio = float(np.mean([len(left_out) / len(trained) for _, trained, left_out in fits]))
    known = set(data.train.labels or ())
    without = [i for i, label in enumerate(data.task.labels) if label not in known]
    return Judge(labels, data.task.metric, seed, parts, ratio, data.train.take(rows).groups, without)


def _refuse_foreign(folder: Path) -> None:
    """An output folder is new, empty, or one of ours."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file", expected="a folder", remedy="Choose another folder with --out.")
    ours = any((folder / name).exists() for name in (PLAN, LEDGER))
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise OutputError(
            f"{folder}: holds files that no study wrote",
            expected="a new or empty folder, or one that a study of this recipe began",
            remedy="Choose another folder with --out.",
        )
