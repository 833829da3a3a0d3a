"""Choice: the best candidate that does not hurt; of ensembles, one stands for what it was made of and for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from transfuse.advice.candidates import Candidate, spoken_for
from transfuse.errors import StudyError
from transfuse.evaluation import metric_of
from transfuse.study.assess import LOSS, Assessed
from transfuse.study.harm import WITHOUT, Harm, gain, harm_in, shown_to_hurt

KINDS = ("no transfer", WITHOUT)
"""Comparisons in which *helps* is asked for by the strict gate."""

LUCK = 0.2
"""So likely may it be that one of all of a backbone's ensembles with sources gains as much by luck alone."""


def choose(assessed: Sequence[Assessed], metric: str, gate: str) -> tuple[Assessed, list[dict[str, Any]]]:
    """The candidate with the best validation mean whose verdicts bar it from nothing.

    A verdict *hurts* bars always, and so does a source that is shown to hurt (`shown_to_hurt`), unless the candidate is
    itself shown to gain by its sources; ``gate: strict`` also bars what is not shown to help against no transfer and,
    with a source, against the same without it. Equal means go to the cheaper one, by the plan's estimate:
    measured times differ from run to run, and the choice must not. The best of many means on a few rows is the luckiest
    one, so an ensemble speaks for what it was made of that has the same sources: unless it is barred, as it is where
    one of them is shown to be better, these are not chosen themselves. For the same reason one ensemble of a backbone
    stands for all: that with the best log loss of those whose sources are worth it (`_yields`), else the one without.
    It stands for a baseline with more log loss, too. Where labels have no example, what cannot name them is barred as
    long as anything else can: its figures, of the other labels, do not show it.

    Returns:
        The choice, and the barred candidates as ``{id, reason}``, with ``harm`` where a source is the reason, and
        ``cannot_name`` where labels are; what an
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
    able = knowing(allowed)
    if len(able) < len(allowed):
        barred += [_silent(one) for one in allowed if one.record["cannot_name"]]
    allowed = able
    _let_one_stand(allowed, [one.record for one in done])
    free = [one for one in allowed if not one.record["spoken_for"] and not one.record["yields_to"]]
    sign = 1.0 if metric_of(metric)[1] else -1.0

    def rank(one: Assessed) -> tuple[float, float]:
        return round(sign * one.record["validation"][metric]["value"], 9), -one.record["estimate"]

    return max(free, key=rank), barred


def knowing(some: Sequence[Assessed]) -> list[Assessed]:
    """Those that can name labels without an example; all where none can, or where every label has one."""
    return [one for one in some if not one.record["cannot_name"]] or list(some)


def _silent(one: Assessed) -> dict[str, Any]:
    labels = one.record["cannot_name"]
    return {"id": one.candidate.id, "reason": f"cannot name {', '.join(labels)}", "cannot_name": labels}


def _let_one_stand(allowed: Sequence[Assessed], records: Sequence[Mapping[str, Any]]) -> None:
    """Write into each record which ensemble stands in its place: ``spoken_for`` and ``yields_to``, else empty.

    Args:
        allowed: the candidates that are not barred.
        records: of all candidates that were fitted.
    """
    speaking = [one.candidate for one in allowed if one.candidate.members]
    promising = [ensemble for ensemble in speaking if ensemble.sources and gain(records, ensemble.sources) >= 0]
    for one in allowed:
        one.record["spoken_for"] = spoken_for(one.candidate, speaking)
        one.record["yields_to"] = _yields(one, allowed, promising)
    heads = _heads([one for one in allowed if one.candidate.members and not one.record["yields_to"]])
    for one in allowed:
        others = (head.candidate.id for head in heads if _stands_for(head, one))
        one.record["yields_to"] = one.record["yields_to"] or next(others, "")


def _yields(one: Assessed, allowed: Sequence[Assessed], promising: Sequence[Candidate]) -> str:
    """The id of the ensemble without sources, or of what stands there, to which one with sources yields; or empty.

    It stands where it is shown to help. Else three things are asked of it. It has less log loss than the one without.
    Its sources do not make candidates worse by themselves, by the mean log loss: where most members of an ensemble use
    no source, its gain may come from other things. And the gain is more than the luck of many tries: with k such
    ensembles on a backbone, k p is at most `LUCK`, so that of many useless sources as few pass as of one. As p counts
    the smaller one of the metric and the log loss: each misses gains that the other shows, the first because 64 rows
    tell it coarsely, the second where one answer is too sure of itself.
    """
    own = [t for t in one.record["transfer"] if t["kind"] == WITHOUT and one.candidate.members]
    without = next((t for t in own if any(t["against"] == other.candidate.id for other in allowed)), None)
    if without is None or without["verdict"] == "helps":
        return ""
    tried = sum(c.backbone == one.candidate.backbone for c in promising)
    saves = without[LOSS]["difference"] > 0 and tried * _luck(without) <= LUCK
    return "" if saves and one.candidate in promising else str(without["against"])


def _luck(comparison: Mapping[str, Any]) -> float:
    """The smaller p of what is gained, one-sided, by the metric or by the log loss."""
    return min(p for p in (comparison.get("p_alone"), comparison[LOSS]["p"], 1.0) if p is not None)


def _heads(ensembles: Sequence[Assessed]) -> list[Assessed]:
    """Of each backbone the ensemble with the least log loss, of those with sources where there is one."""
    best: dict[str, Assessed] = {}
    for one in sorted(ensembles, key=lambda e: (not e.candidate.sources, e.record["validation"][LOSS]["value"])):
        best.setdefault(one.candidate.backbone, one)
    return list(best.values())


def _stands_for(head: Assessed, one: Assessed) -> bool:
    """Whether the choice falls on the first of both only.

    It stands for the other ensembles of its backbone, for what it was compared with in the place of one, and for a
    baseline, whose mean may be lucky, too, where it saves log loss by more than luck.
    """
    told = [t for t in head.record["transfer"] if t["against"] == one.candidate.id]
    if one.candidate.family == "baseline":
        return any(LOSS in t and t[LOSS]["p"] <= LUCK for t in told)
    other = one is not head and one.candidate.members and one.candidate.backbone == head.candidate.backbone
    return bool(other or any(t["kind"] == WITHOUT for t in told))


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
