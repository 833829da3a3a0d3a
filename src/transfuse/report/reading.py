"""Reading a report dict that may lack anything: every look-up answers, with None or an empty list where nothing is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transfuse.evaluation import METRICS, TEXT_METRICS, Interval

Report = Mapping[str, Any]
Candidate = Mapping[str, Any]

STATUSES = ("done", "skipped", "failed")
TRANSFERS = ("no transfer", "without source", "placebo")
"""Comparisons that say what a transfer is worth; in all others a model stands beside another one."""
NO_TRANSFER = "tfidf"
"""The method that is no transfer, with its default settings (the catalogue of methods would load torch)."""


def items(report: Report, *path: str) -> list[Any]:
    """The list at ``path``, or an empty one."""
    value = at(report, *path)
    return list(value) if isinstance(value, (list, tuple)) else []


def at(report: object, *path: str) -> Any:
    """The value at ``path`` of nested dicts, or None."""
    for key in path:
        if not isinstance(report, Mapping):
            return None
        report = report.get(key)
    return report


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def interval(figures: object) -> Interval | None:
    """``{value, low, high}`` as an interval; missing ends fall on the value; None where there is no value."""
    value = number(at(figures, "value"))
    if value is None:
        return None
    low, high = number(at(figures, "low")), number(at(figures, "high"))
    return Interval(value, value if low is None else low, value if high is None else high)


def metric_of(report: Report) -> str:
    """The metric that the study is judged by."""
    return str(report.get("metric") or "accuracy")


def greater_is_better(metric: str) -> bool:
    """Whether more of the metric is better; true for metrics that this version does not know."""
    known = METRICS | TEXT_METRICS
    return known[metric][1] if metric in known else True


def validation_of(report: Report, candidate: Candidate) -> Interval | None:
    """The candidate's validation figure of the study's metric."""
    return interval(at(candidate, "validation", metric_of(report)))


def status_of(candidate: Candidate) -> str:
    """done, skipped or failed; done where nothing is said."""
    return str(candidate.get("status") or "done")


def ranked(report: Report) -> list[Candidate]:
    """All candidates: done ones by validation figure, best first, then skipped, then failed ones."""
    sign = -1 if greater_is_better(metric_of(report)) else 1

    def key(candidate: Candidate) -> tuple[int, float]:
        figure = validation_of(report, candidate)
        status = status_of(candidate)
        place = STATUSES.index(status) if status in STATUSES else len(STATUSES)
        return place, sign * figure.value if figure else math.inf

    return sorted((c for c in items(report, "candidates") if isinstance(c, Mapping)), key=key)


def with_status(report: Report, status: str) -> list[Candidate]:
    """The candidates of one status, best first."""
    return [candidate for candidate in ranked(report) if status_of(candidate) == status]


def find(report: Report, identity: object) -> Candidate | None:
    """The candidate of an id."""
    return next((c for c in ranked(report) if identity is not None and c.get("id") == identity), None)


def name_of(candidate: Candidate) -> str:
    """The candidate's id as text."""
    return str(candidate.get("id", "?"))


def transfers(candidate: Candidate, kind: str) -> list[Mapping[str, Any]]:
    """The candidate's comparisons of one kind that have a figure, validation before test."""
    found = [t for t in items(candidate, "transfer") if at(t, "kind") == kind and interval(at(t, "difference"))]
    return sorted(found, key=lambda entry: entry.get("split") == "test")


def of_transfer(entry: Mapping[str, Any]) -> bool:
    """Whether a comparison says what a transfer is worth, and does not hold one model beside another."""
    return entry.get("kind") in TRANSFERS


def no_transfer_id(report: Report) -> str | None:
    """The id of the no-transfer baseline: what candidates were compared with under that name, or would have been."""
    for candidate in items(report, "candidates"):
        for entry in transfers(candidate, "no transfer"):
            return str(entry.get("against"))
    plain = (c for c in items(report, "candidates") if at(c, "method") == NO_TRANSFER and not at(c, "settings"))
    return next((name_of(candidate) for candidate in plain), None)


def no_transfer_method(report: Report) -> str:
    """The method of the no-transfer baseline."""
    found = find(report, no_transfer_id(report)) or {}
    return str(at(found, "method") or NO_TRANSFER)


def removed_sources(report: Report, candidate: Candidate, entry: Mapping[str, Any]) -> list[str]:
    """The sources that the candidate has and its counterpart has not; all of its sources where that is unknown."""
    own = [str(name) for name in items(candidate, "sources")]
    counterpart = find(report, entry.get("against"))
    others = {str(name) for name in items(counterpart or {}, "sources")}
    return [name for name in own if name not in others] or own


def short(reference: object) -> str:
    """A reference without its scheme: ``catalog:minilm-l6`` is ``minilm-l6``."""
    text = "" if reference is None else str(reference)
    head, colon, rest = text.partition(":")
    return rest if colon and head in ("catalog", "hub") else text
