"""Comparison and choice: every candidate against its counterparts, the best that does not hurt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate, counterparts, may_be_member, spoken_for
from transfuse.errors import StudyError
from transfuse.evaluation import Comparison, compare, holm, metric_intervals, metric_of
from transfuse.methods.catalogue import LABELS
from transfuse.study.harm import WITHOUT, Harm, gain, harm_in, shown_to_hurt
from transfuse.tasks import Task

KINDS = ("no transfer", WITHOUT)
"""Comparisons in which *helps* is asked for by the strict gate."""

ALONE = "best alone"
"""The comparison of an ensemble with the best of what it was made of."""

LOSS = "log_loss"
"""By which it is told what sources are worth to ensembles: on few rows it says more than the share that is right."""

LUCK = 0.2
"""So likely may it be that one of all of a backbone's ensembles with sources gains as much by luck alone."""

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
    """

    labels: np.ndarray
    metric: str
    seed: int
    parts: Sequence[tuple[int, np.ndarray]] = ()
    ratio: float = 0.0
    groups: Sequence[str] | None = None

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
        entry = {**candidate.to_dict(), **record, "validation": {}, "transfer": []}
        if probabilities is not None:
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


def choose(assessed: Sequence[Assessed], metric: str, gate: str) -> tuple[Assessed, list[dict[str, Any]]]:
    """The candidate with the best validation mean whose verdicts bar it from nothing.

    A verdict *hurts* bars always, and so does a source that is shown to hurt (`shown_to_hurt`), unless the candidate is
    itself shown to gain by its sources; ``gate: strict`` also bars what is not shown to help against no transfer and,
    with a source, against the same without it. Equal means go to the cheaper one, by the plan's estimate:
    measured times differ from run to run, and the choice must not. The best of many means on a few rows is the luckiest
    one, so an ensemble speaks for what it was made of that has the same sources: unless it is barred, as it is where
    one of them is shown to be better, these are not chosen themselves. For the same reason one ensemble of a backbone
    stands for all: that with the best log loss of those whose sources are worth it (`_yields`), else the one without.
    It stands for a baseline with more log loss, too.

    Returns:
        The choice, and the barred candidates as ``{id, reason}``, with ``harm`` where a source is the reason; what an
        ensemble speaks for has its id as ``spoken_for`` in its record, and what yields as ``yields_to``.

    Raises:
        StudyError: no candidate was fitted.
    """
    done = [a for a in assessed if a.probabilities is not None]
    if not done:
        reasons = "; ".join(f"{a.candidate.id}: {a.record['reason']}" for a in assessed)
        raise StudyError(
            f"no candidate could be fitted: {reasons}",
            expected="at least the no-transfer baseline",
            remedy="Mend the first reason, then run the same command again.",
        )
    barred: list[dict[str, Any]] = []
    allowed = []
    harmful = shown_to_hurt(one.record for one in done)
    for one in done:
        entry = _bar(one, gate, harmful)
        if entry:
            barred.append({"id": one.candidate.id, **entry})
        else:
            allowed.append(one)
    speaking = [one.candidate for one in allowed if one.candidate.members]
    promising = [c for c in speaking if c.sources and gain((one.record for one in done), c.sources) >= 0]
    for one in allowed:
        one.record["spoken_for"] = spoken_for(one.candidate, speaking)
        one.record["yields_to"] = _yields(one, allowed, promising)
    for one in allowed:
        one.record["yields_to"] = one.record["yields_to"] or _stands_for(one, allowed)
    allowed = [one for one in allowed if not one.record["spoken_for"] and not one.record["yields_to"]]
    sign = 1.0 if metric_of(metric)[1] else -1.0

    def rank(one: Assessed) -> tuple[float, float]:
        return round(sign * one.record["validation"][metric]["value"], 9), -one.record["estimate"]

    return max(allowed, key=rank), barred


def _yields(one: Assessed, allowed: Sequence[Assessed], promising: Sequence[Candidate]) -> str:
    """The id of the ensemble without sources, or of what stands there, to which one with sources yields; or empty.

    It stands where it is shown to help. Else three things are asked of it, by the log loss. It has less than the one
    without. Its sources do not make candidates worse by themselves, in the mean: where most members of an ensemble use
    no source, its gain may come from other things. And the gain is more than the luck of many tries: with k such
    ensembles on a backbone, k p is at most `LUCK`, so that of many useless sources as few pass as of one.

    Args:
        one: a candidate with its record.
        allowed: those that are not barred.
        promising: the ensembles among them with sources that do not make candidates worse by themselves.
    """
    own = [t for t in one.record["transfer"] if t["kind"] == WITHOUT and one.candidate.members]
    without = next((t for t in own if any(t["against"] == other.candidate.id for other in allowed)), None)
    if without is None or without["verdict"] == "helps":
        return ""
    tried = sum(c.backbone == one.candidate.backbone for c in promising)
    lucky = without[LOSS]["difference"] <= 0 or tried * without[LOSS]["p"] > LUCK
    return str(without["against"]) if lucky or one.candidate not in promising else ""


def _stands_for(one: Assessed, allowed: Sequence[Assessed]) -> str:
    """The id of the ensemble with sources that stands in the place of what has none, or others, or empty.

    That with the best log loss of a backbone stands for the other ensembles, and for what it was compared with instead.
    For a baseline, whose mean may be lucky, too, stands any that saves log loss against it by more than luck.
    """
    if one.candidate.family == "baseline":
        saves = (other for other in allowed if not other.record["yields_to"] and _saves(other, one.candidate.id))
        return next((other.candidate.id for other in saves), "")
    own = [other for other in allowed if other.candidate.members and other.candidate.backbone == one.candidate.backbone]
    standing = [other for other in own if other.candidate.sources and not other.record["yields_to"]]
    best = min(standing, key=lambda other: other.record["validation"][LOSS]["value"], default=one)
    compared = [t["against"] for t in best.record["transfer"] if t["kind"] == WITHOUT]
    stands = best is not one and (one.candidate.members or one.candidate.id in compared)
    return best.candidate.id if stands else ""


def _saves(ensemble: Assessed, against: str) -> bool:
    told = [t[LOSS] for t in ensemble.record["transfer"] if t["against"] == against and LOSS in t]
    return bool(ensemble.candidate.members) and any(bool(t["difference"] > 0 and t["p"] <= LUCK) for t in told)


def _bar(one: Assessed, gate: str, harmful: Sequence[Harm]) -> dict[str, Any]:
    """Why a candidate may not be chosen, as ``reason``, and ``harm`` where that is a source; empty where it may."""
    transfer = one.record["transfer"]
    reason = barred_by(transfer, gate, one.candidate.family)
    found = harm_in(one.candidate.sources, harmful)
    helped = any(t["kind"] == WITHOUT and t["verdict"] == "helps" for t in transfer)
    if found is None or helped or reason.startswith("hurts"):
        return {"reason": reason} if reason else {}
    told = f"hurts: source {'+'.join(found.sources)}, in {found.hurts} of {found.count} candidates"
    return {"reason": told, "harm": dataclasses.asdict(found)}


def barred_by(transfer: Sequence[Mapping[str, Any]], gate: str = "default", family: str = "") -> str:
    """Why a candidate with these comparisons may not be chosen; empty where it may."""
    for comparison in transfer:
        if comparison["verdict"] == "hurts":
            return f"hurts: {comparison['kind']} ({comparison['against']})"
    if gate == "strict" and family != "baseline":
        for comparison in transfer:
            if comparison["kind"] in KINDS and comparison["verdict"] != "helps":
                return f"gate strict: not shown to help: {comparison['kind']} ({comparison['against']})"
    return ""
