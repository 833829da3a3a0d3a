"""Comparison: every candidate against its counterparts, on the validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate, counterparts, may_be_member
from transfuse.evaluation import Comparison, compare, holm, metric_intervals, metric_of
from transfuse.methods.catalogue import LABELS
from transfuse.study.harm import WITHOUT
from transfuse.tasks import Task

ALONE = "best alone"
"""The comparison of an ensemble with the best of what it was made of."""

LOSS = "log_loss"
"""By which it is told what sources are worth to ensembles: on few rows it says more than the share that is right."""

IMPOSSIBLE = 1e-9
"""A probability so small is that of a label that a model does not know."""

COUNTED = (
    *("accuracy", "macro_f1", "macro_precision", "macro_recall", "micro_f1", "micro_precision", "micro_recall", "mcc"),
    *("exact_match", "pass_1"),
)
"""Metrics that count what is right, so that a split of m rows tells them in steps of about 1/m."""


@dataclasses.dataclass
class Assessed:
    """A candidate with its figures on the validation rows.

    Args:
        candidate: what.
        probabilities: float64 [R, N, C], or written answers, object [R, N]; None where it was not fitted.
        record: its entry in report.json.
    """

    candidate: Candidate
    probabilities: np.ndarray | None
    record: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Judge:
    """Compares two candidates on the validation rows.

    Args:
        labels: int64 [N], of the validation rows, or what is expected of written answers, object [N].
        metric: what candidates are chosen by.
        seed: of the bootstrap.
        parts: of each split its repeat, and the positions of the rows that it leaves out; of one split, or of none,
            the spread between splits is not known, and p is that of the examples.
        ratio: rows that a split leaves out, for each one that it trains on.
        groups: keys of validation rows that belong together, which are resampled together, or None.
        without_example: positions of the labels that no labelled row has, so that no figure speaks of them.
    """

    labels: np.ndarray
    metric: str
    seed: int
    parts: Sequence[tuple[int, np.ndarray]] = ()
    ratio: float = 0.0
    groups: Sequence[str] | None = None
    without_example: Sequence[int] = ()

    def compare(self, a: np.ndarray, b: np.ndarray) -> Comparison:
        """Of probabilities [R, N, C] or answers [R, N]; positive where a is better; the spread of splits counts."""
        found = compare(self.labels, a, b, metric=self.metric, seed=self.seed, groups=self.groups)
        if len(self.parts) < 2:
            return found
        differences = [self._figure(a, p) - self._figure(b, p) for p in self.parts]
        return found.over_splits(differences, self.ratio, self._half_a_row())

    def _half_a_row(self) -> float:
        """What half a row changes in a split's figure, where the metric counts rows: finer it is not known."""
        return 0.5 / float(np.mean([len(rows) for _, rows in self.parts])) if self.metric in COUNTED else 0.0

    def figure(self, probabilities: np.ndarray) -> float:
        """The metric of probabilities [R, N, C] or answers [R, N], turned so that more is better."""
        return float(
            np.mean([self._figure(probabilities, (r, np.arange(len(p)))) for r, p in enumerate(probabilities)])
        )

    def _figure(self, probabilities: np.ndarray, part: tuple[int, np.ndarray]) -> float:
        """The metric on what one split leaves out, turned so that more is better."""
        repeat, rows = part
        metric, greater = metric_of(self.metric)
        sums = metric.statistics(self.labels[rows], probabilities[repeat][rows]).sum(axis=0)
        return float(metric.combine(sums[None])[0]) * (1 if greater else -1)


def assess(
    candidates: Sequence[tuple[Candidate, dict[str, Any], np.ndarray | None]], judge: Judge, task: Task
) -> list[Assessed]:
    """Figures with intervals for each candidate, and a verdict against each of its counterparts.

    Comparisons with and without sources are adjusted for how many of them there are.

    Args:
        candidates: each with its record (status, seconds, ...) and its answers, [R, N, C] or [R, N], or None.
        judge: compares two of them.
        task: says by which metrics.
    """
    every = [candidate for candidate, _, _ in candidates]
    found = {c.id: None if answers is None else task.judged(answers) for c, _, answers in candidates}
    out = []
    for candidate, record, _ in candidates:
        probabilities = found[candidate.id]
        entry = {**candidate.to_dict(), **record, "validation": {}, "transfer": [], "cannot_name": []}
        if probabilities is not None:
            entry["cannot_name"] = _unnamed(task, judge.without_example, probabilities)
            figures = metric_intervals(
                judge.labels, probabilities, seed=judge.seed, names=task.measured(judge.labels), groups=judge.groups
            )
            entry["validation"] = {name: interval.to_dict() for name, interval in figures.items()}
            for kind, against in [*counterparts(candidate, every), *_of_an_ensemble(candidate, every, found, judge)]:
                other = found.get(against)
                if other is not None:
                    result = judge.compare(probabilities, other)
                    told = {"kind": kind, "against": against, "split": "validation", "of": result}
                    if candidate.kind == LABELS and (kind == WITHOUT or candidate.members):
                        by_loss = dataclasses.replace(judge, metric=LOSS).compare(probabilities, other)
                        told[LOSS] = {"difference": by_loss.difference.value, "p": by_loss.p}
                    entry["transfer"].append(told)
        out.append(Assessed(candidate, probabilities, entry))
    _adjust([t for one in out for t in one.record["transfer"]])
    return out


def _unnamed(task: Task, asked: Sequence[int], probabilities: np.ndarray) -> list[str]:
    """The labels among those asked for that are held for impossible in every row."""
    return [task.labels[c] for c in asked if probabilities[..., c].max() < IMPOSSIBLE]


def _of_an_ensemble(
    candidate: Candidate, every: Sequence[Candidate], found: Mapping[str, np.ndarray | None], judge: Judge
) -> list[tuple[str, str]]:
    """What an ensemble stands in the place of: the best candidate that might be in it; nothing for all others.

    With sources it is also compared with the best without them, where one alone is left there and makes no ensemble.
    """
    if not candidate.members:
        return []

    def best(sources: tuple[str, ...]) -> str:
        own = [c.id for c in every if may_be_member(c, candidate.backbone, sources)]
        figures = {name: judge.figure(said) for name in own if (said := found[name]) is not None}
        return max(figures, key=lambda name: figures[name], default="")

    plain = any(c.members and c.backbone == candidate.backbone and not c.sources for c in every)
    alone = "" if plain or not candidate.sources else best(())
    return [(ALONE, best(candidate.sources)), *([(WITHOUT, alone)] if alone else [])]


def _adjust(transfers: Sequence[dict[str, Any]]) -> None:
    """Write the comparisons out, those of sources adjusted for each other (Holm); ``p_alone`` is not."""
    sources = [t for t in transfers if t["kind"] == WITHOUT and t["of"].p is not None]
    for entry, p in zip(sources, holm([t["of"].p for t in sources]), strict=True):
        entry["p_alone"] = entry["of"].p
        entry["of"] = entry["of"].beside(p).among(len(sources))
    for entry in transfers:
        entry.update(entry.pop("of").to_dict())
