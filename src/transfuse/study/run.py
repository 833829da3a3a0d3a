"""The main path of a study: data → plan → fit → compare → choose → save → report."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.advice.planner import Planned
from transfuse.engine.ledger import LEDGER, PLAN, Ledger, read_json
from transfuse.errors import OutputError, TransfuseError
from transfuse.study.assess import assess, choose
from transfuse.study.decide import check_owner, decide, decide_again, obey
from transfuse.study.finish import MODEL, finish
from transfuse.study.prepare import StudyData, prepare
from transfuse.study.recipe import Recipe
from transfuse.study.record import REPORT, report_of
from transfuse.study.settings import known_methods
from transfuse.study.workshop import Outcome, Workshop, validation_rows

if TYPE_CHECKING:
    import pandas

    from transfuse.fitted import FittedModel


NOTES = {
    "en": {
        "finished": "{folder}: finished before; --fresh starts again",
        "going on": "{folder}: going on after {seconds:.0f} s",
        "timing": "timing a few batches of each backbone",
        "more": "time is left, so these run too: {ids}",
        "chosen": "chosen: {id}; reading the test once",
        "download": "download {name}",
        "cross-validation": "cross-validation",
        "split": "validation split",
        "final fit": "final fit",
        "done": "done",
        "failed": "failed",
    },
    "zh": {
        "finished": "{folder}：此前已完成；--fresh 可重新开始",
        "going on": "{folder}：在 {seconds:.0f} 秒之后继续",
        "timing": "先对每个骨干模型试跑几批以估计时间",
        "more": "还有剩余时间，因此再运行：{ids}",
        "chosen": "选定：{id}；测试集只读这一次",
        "download": "下载 {name}",
        "cross-validation": "交叉验证",
        "split": "验证集",
        "final fit": "最终训练",
        "done": "完成",
        "failed": "失败",
    },
}
"""What a study says while it runs, by language."""


class Progress(Protocol):
    """What a study tells while it runs."""

    def start(self, total_seconds: float | None, names: Sequence[str]) -> None:
        """The study begins."""

    def candidate(self, id: str, index: int, count: int) -> None:
        """A candidate begins; ``index`` counts from 1."""

    def update(self, text: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """What runs now, the share of it that is done, and what the whole study has left."""

    def done(self, id: str, line: str) -> None:
        """A candidate has ended."""

    def note(self, text: str) -> None:
        """Something to know."""


class Silent:
    """A `Progress` that says nothing."""

    def start(self, total_seconds: float | None, names: Sequence[str]) -> None:
        """Nothing."""

    def candidate(self, id: str, index: int, count: int) -> None:
        """Nothing."""

    def update(self, text: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """Nothing."""

    def done(self, id: str, line: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


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
    def model(self) -> FittedModel:
        """The chosen candidate's fitted model."""
        from transfuse.fitted import load

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

    workshop = Workshop(recipe, data, say, pulled, keep=keep)
    if decided is None:
        progress.note(say["timing"])
        decided = decide(recipe, data, workshop, ledger)
    fits = _Fits(data, workshop, ledger, progress, say)
    planned = obey(decided, workshop)
    progress.start(recipe.budget.minutes * 60, [p.candidate.id for p in planned if p.room is None])
    if not decided.get("settled"):  # what is cheap runs first: then more is known of the time that is left
        fits.run([p for p in planned if p.candidate.family != "parameter"], planned)
    while not decided.get("settled"):
        before = {p.candidate.id for p in planned if p.room is None}
        decided, now = decide_again(decided, recipe, data, workshop, ledger)
        if more := [identifier for identifier in now if identifier not in before]:
            progress.note(say["more"].format(ids=", ".join(more)))
        planned = obey(decided, workshop)
        fits.run(planned, planned)
    fitted = fits.run(planned, planned)
    labels = data.task.encode([(data.train.labels or ())[i] for i in validation_rows(data)])
    assessed = assess(fitted, labels, data.task.metric, recipe.seed)
    chosen, barred = choose(assessed, data.task.metric, recipe.gate)
    progress.note(say["chosen"].format(id=chosen.candidate.id))
    ending = finish(chosen, assessed, data, workshop, ledger, progress)
    report = report_of(recipe, data, workshop, ledger, decided, assessed, chosen, barred, ending, lang)
    ledger.write_json(folder / REPORT, report)
    return Study(report, folder)


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


@dataclasses.dataclass
class _Fits:
    """The fits of a study: each candidate once, the ledger knows which are done."""

    data: StudyData
    workshop: Workshop
    ledger: Ledger
    progress: Progress
    say: Mapping[str, str]
    tried: set[str] = dataclasses.field(default_factory=set)

    def run(
        self, some: Sequence[Planned], planned: Sequence[Planned]
    ) -> list[tuple[Candidate, dict[str, Any], np.ndarray | None]]:
        """Fit some of what is planned, one candidate after another, unless it was fitted before.

        Returns:
            (candidate, record, probabilities where there are some) of each.
        """
        running = [p for p in planned if p.room is None]
        out: list[tuple[Candidate, dict[str, Any], np.ndarray | None]] = []
        for one in some:
            estimate = {"estimate": one.seconds, "room": one.room, "together": one.together}
            if one.room is not None:
                out.append((one.candidate, _record("skipped", one.reason) | estimate, None))
                continue
            record = self.ledger.read(one.candidate.id)
            if record is None or (record["status"] != "done" and one.candidate.id not in self.tried):
                record = self._fit(one, running)
            found = self.ledger.read_predictions(one.candidate.id) if record["status"] == "done" else None
            out.append((one.candidate, record | estimate, _probabilities(found, self.data)))
        return out

    def _fit(self, one: Planned, running: Sequence[Planned]) -> dict[str, Any]:
        """Fit a candidate and tell how far it is, and how far the study is."""
        identifier, ledger, progress = one.candidate.id, self.ledger, self.progress
        left = sum(p.seconds for p in running if ledger.read(p.candidate.id) is None)
        progress.candidate(identifier, running.index(one) + 1, len(running))

        def tell(text: str, share: float) -> None:
            ledger.tick()
            progress.update(text, share, left - one.seconds * share)

        self.workshop.report = tell
        self.tried.add(identifier)
        record = _attempt(one.candidate, self.data, self.workshop, ledger)
        progress.done(identifier, ": ".join(filter(None, (self.say[record["status"]], record["reason"]))))
        return record


def _attempt(candidate: Candidate, data: StudyData, workshop: Workshop, ledger: Ledger) -> dict[str, Any]:
    """Fit one candidate; what goes wrong with it is its own affair, unless nothing can be written at all."""
    try:
        outcome = workshop.validate(candidate)
    except OutputError:
        raise
    except TransfuseError as error:
        record = _record("failed", str(error).replace("\n", " "))
    except MemoryError:
        record = _record("failed", "not enough memory")
    except Exception as error:  # a candidate must not end the study; --debug shows where it came from
        with contextlib.suppress(Exception):
            import os

            if os.environ.get("TRANSFUSE_DEBUG"):
                raise
        record = _record("failed", f"{type(error).__name__}: {error}")
    else:
        _keep(candidate.id, outcome, data, ledger)
        record = _record("done", "", outcome)
    ledger.write(candidate.id, record)
    return record


def _record(status: str, reason: str, outcome: Outcome | None = None) -> dict[str, Any]:
    if outcome is None:
        return {
            "status": status,
            "reason": reason,
            "seconds": None,
            "peak_memory_mib": None,
            "trainable_parameters": None,
        }
    return {
        "status": status,
        "reason": reason,
        "seconds": {"fit": round(outcome.fit, 3), "predict_per_1000": round(outcome.predict_per_1000, 3)},
        "peak_memory_mib": round(outcome.peak_memory),
        "trainable_parameters": outcome.trainable_parameters,
    }


def _keep(name: str, outcome: Outcome, data: StudyData, ledger: Ledger) -> None:
    """One row a prediction: repeat, row of the user's file, label, and a log-probability for each class."""
    rows = validation_rows(data)
    repeats = len(outcome.log_probabilities)
    flat = outcome.log_probabilities.reshape(-1, len(data.task.labels))
    columns: dict[str, Any] = {
        "split": ["validation"] * len(flat),
        "repeat": np.repeat(np.arange(repeats), len(rows)),
        "row": np.tile(np.asarray(data.train.rows)[rows], repeats),
        "label": [(data.train.labels or ())[i] for i in rows] * repeats,
    }
    columns |= {f"log_p {label}": flat[:, i] for i, label in enumerate(data.task.labels)}
    ledger.write_predictions(name, columns)


def _probabilities(columns: dict[str, np.ndarray] | None, data: StudyData) -> np.ndarray | None:
    """The log-probabilities [R, N, C] that `_keep` wrote."""
    if columns is None:
        return None
    flat = np.stack([columns[f"log_p {label}"] for label in data.task.labels], axis=1)
    return flat.reshape(data.splits.repeats, -1, flat.shape[1])
