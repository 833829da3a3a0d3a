"""What the page's sections show beside the candidates: test figures, mistakes, calibration, data, how to repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transfuse.data import sentence
from transfuse.evaluation import METRICS, Interval, most_confused
from transfuse.report import amounts, chart, reading
from transfuse.report.reading import Report
from transfuse.report.words import Speaker

TABLE_LABELS = 12
"""So many labels fit a confusion table; of more the most confused pairs are listed."""
PAIRS = 15
CHIPS = 12
LONG_TEXT = 600
ROWS_NAMED = 12

PLOT = 300
"""Side of the calibration chart, in pixels."""
EDGE = 42


def subtitle(report: Report, speak: Speaker) -> str:
    """When it was made, on how many test examples, by which seed, as far as known."""
    rows, seed = reading.number(report.get("test_rows")), report.get("seed")
    known = [speak("made", created=report["created"])] if report.get("created") else []
    known += [speak("test_rows", n=amounts.count(rows))] if rows else []
    known += [speak("seed", seed=seed)] if seed is not None else []
    return " · ".join(known)


def tiles(report: Report, speak: Speaker) -> list[dict[str, str]]:
    """The figures at the top: the chosen model's, no transfer's, the difference, the time."""
    name = reading.metric_of(report)
    metric = speak.name("metric", name)
    test = reading.interval(reading.at(report, "test", name))
    chosen = reading.find(report, report.get("chosen"))
    out = []
    if chosen and (figure := test or reading.validation_of(report, chosen)):
        words = speak("at_test" if test else "at_validation", metric=metric)
        out.append(
            _tile(words, amounts.plain(figure.value), f"{amounts.plain(figure.low)} – {amounts.plain(figure.high)}")
        )
    baseline = reading.interval(reading.at(report, "no_transfer", name))
    if test and baseline:
        ends = f"{amounts.plain(baseline.low)} – {amounts.plain(baseline.high)}"
        out.append(_tile(speak("no_transfer"), amounts.plain(baseline.value), ends))
    difference = reading.interval(reading.at(report, "test_comparison", "difference"))
    if difference:
        ends = f"{amounts.signed(difference.low)} – {amounts.signed(difference.high)}"
        out.append(_tile(speak("gain"), amounts.signed(difference.value), ends))
    seconds, minutes = reading.number(report.get("seconds")), reading.number(reading.at(report, "budget", "minutes"))
    spent = reading.number(reading.at(report, "budget", "spent_seconds"))
    used = spent if spent is not None else seconds
    if used is not None:
        shown = amounts.duration(speak, used)
        budget = speak("budget", budget=amounts.duration(speak, minutes * 60)) if minutes else ""
        out.append(_tile(speak("time"), shown, budget))
    return out


def _tile(label: str, value: str, note: str) -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def test_figures(report: Report, speak: Speaker) -> list[tuple[str, str, str]]:
    """(metric, the chosen model's figure, no transfer's figure) on the test data."""
    test, baseline = reading.at(report, "test"), reading.at(report, "no_transfer")
    if not isinstance(test, Mapping):
        return []
    names = [name for name in METRICS if name in test] + [name for name in test if name not in METRICS]
    out = []
    for name in names:
        own, other = (amounts.with_interval(speak, reading.interval(reading.at(of, name))) for of in (test, baseline))
        out.append((speak.name("metric", name), own, other))
    return [row for row in out if row[1] != amounts.MISSING]


def confusion(report: Report) -> dict[str, Any] | None:
    """The confusion table with shares of each row, or the most confused pairs where there are many labels."""
    labels = [str(label) for label in reading.items(report, "confusion", "labels")]
    matrix = reading.items(report, "confusion", "matrix")
    if not labels or len(matrix) != len(labels) or any(len(row) != len(labels) for row in matrix):
        return None
    if len(labels) > TABLE_LABELS:
        pairs = [(labels[i], labels[j], amounts.count(n)) for i, j, n in most_confused(matrix, PAIRS)]
        return {"labels": labels, "pairs": pairs, "rows": []}
    rows = []
    for label, counts in zip(labels, matrix, strict=True):
        total = sum(counts) or 1
        cells = [{"count": amounts.count(n), "share": round(n / total, 3), "strong": n / total > 0.5} for n in counts]
        rows.append({"label": label, "cells": cells})
    return {"labels": labels, "pairs": [], "rows": rows}


def classes(report: Report, speak: Speaker) -> list[dict[str, str]]:
    """Recall of each class, chosen against no transfer; of many classes those that gained and lost most."""
    entries = [e for e in reading.items(report, "by_label") if isinstance(e, Mapping)]
    if report.get("chosen") == reading.no_transfer_id(report):
        return []
    if len(entries) > TABLE_LABELS:
        entries = entries[: TABLE_LABELS // 2] + entries[-TABLE_LABELS // 2 :]
    return [
        {
            "label": str(entry.get("label")),
            "n": amounts.count(reading.number(entry.get("n"))),
            **{key: amounts.plain(reading.number(entry.get(key))) for key in ("chosen", "no_transfer")},
            "difference": amounts.signed(reading.number(entry.get("difference"))),
            "verdict": str(entry.get("verdict") or ""),
            "verdict_words": speak.name("verdict", entry.get("verdict")),
        }
        for entry in entries
    ]


def mistakes(report: Report) -> list[dict[str, Any]]:
    """The most confident mistakes, long texts shortened."""
    out = []
    for entry in reading.items(report, "mistakes"):
        text = str(reading.at(entry, "text") or "")
        shown = text if len(text) <= LONG_TEXT else text[:LONG_TEXT] + "…"
        probability = amounts.plain(reading.number(reading.at(entry, "probability")))
        label, predicted = str(reading.at(entry, "label")), str(reading.at(entry, "predicted"))
        row = reading.at(entry, "row")
        out.append({"text": shown, "label": label, "predicted": predicted, "probability": probability, "row": row})
    return out


@dataclasses.dataclass(frozen=True)
class Plot:
    """The calibration chart: dots (x, y, radius, words), ticks (share, place across, place down)."""

    dots: list[tuple[float, float, float, str]]
    ticks: list[tuple[str, float, float]]
    side: int = PLOT
    edge: int = EDGE
    end: int = PLOT - 10


def calibration(report: Report) -> Plot | None:
    """Confidence across, share right upwards; the area of a dot is its number of examples."""
    bins = []
    for entry in reading.items(report, "calibration"):
        n, sure, right = (reading.number(reading.at(entry, key)) for key in ("n", "confidence", "accuracy"))
        if n and sure is not None and right is not None:
            bins.append((n, sure, right))
    if not bins:
        return None
    most, span = max(n for n, _, _ in bins), PLOT - EDGE - 10

    def across(share: float) -> float:
        return round(EDGE + share * span, 1)

    def down(share: float) -> float:
        return round(10 + (1 - share) * span, 1)

    dots = [
        (across(sure), down(right), round(3 + 9 * (n / most) ** 0.5, 1), f"{sure:.2f} → {right:.2f}, n = {n:.0f}")
        for n, sure, right in bins
    ]
    return Plot(dots, [(f"{v:g}", across(v), down(v)) for v in (0, 0.25, 0.5, 0.75, 1)])


def parts(report: Report, speak: Speaker) -> list[dict[str, Any]]:
    """The parts of the data: name, origin, rows, and the rows of each label or their range."""
    out = []
    for part in reading.items(report, "data", "parts"):
        labels = reading.at(part, "per_label")
        counts = {str(k): reading.number(v) or 0 for k, v in labels.items()} if isinstance(labels, Mapping) else {}
        chips = [(label, amounts.count(n)) for label, n in counts.items()] if len(counts) <= CHIPS else []
        many = ""
        if len(counts) > CHIPS:
            low, high = amounts.count(min(counts.values())), amounts.count(max(counts.values()))
            many = speak("labels_many", n=len(counts), low=low, high=high)
        rows = amounts.count(reading.number(reading.at(part, "rows")))
        name, origin = str(reading.at(part, "name") or ""), str(reading.at(part, "origin") or "")
        out.append({"name": name, "origin": origin, "rows": rows, "chips": chips, "many": many})
    return out


def findings(report: Report, speak: Speaker) -> list[dict[str, str]]:
    """What the checks of the data found: level, message, part, the first rows."""
    out = []
    for entry in reading.items(report, "data", "findings"):
        level = str(reading.at(entry, "level") or "info")
        named = [str(row) for row in reading.items(entry, "rows")]
        rows = ", ".join(named[:ROWS_NAMED]) + (" …" if len(named) > ROWS_NAMED else "")
        words = {
            "level": level,
            "level_words": speak.name("level", level),
            "part": str(reading.at(entry, "part") or ""),
        }
        kind, facts = str(reading.at(entry, "kind") or ""), reading.at(entry, "facts")
        plain = str(reading.at(entry, "message") or kind)
        words["message"] = sentence(kind, facts, speak.lang) if isinstance(facts, Mapping) else plain
        out.append(words | {"rows": speak("rows_named", rows=rows) if rows else ""})
    return out


def flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dict or list as (key, words) pairs: ``{"a": {"b": 1}}`` is ``[("a b", "1")]``."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in flat(inner, f"{prefix} {key}".strip())]
    if isinstance(value, (list, tuple)):
        return [pair for inner in value for pair in flat(inner, prefix)]
    return [] if value is None else [(prefix, str(value))]


def source_rows(report: Report) -> dict[str, Any] | None:
    """The source's rows that counted most and least, and how many nothing; None where no method weighed them."""
    found = reading.at(report, "source_rows")
    first, last = reading.items(found or {}, "first"), reading.items(found or {}, "last")
    if not first or not last:
        return None
    counts = {key: amounts.count(reading.number(reading.at(found, key))) for key in ("rows", "unused")}
    effective = reading.number(reading.at(found, "effective"))
    told = {"effective": None if effective is None else amounts.count(effective), "member": reading.at(found, "member")}
    return {"first": first, "last": last, **counts, **told}


def curve(report: Report) -> dict[str, Any] | None:
    """The learning curve with and without the transfer, drawn; None where there is none."""
    found = reading.at(report, "curve") or {}
    arms: dict[str, list[tuple[float, Interval]]] = {"with": [], "without": []}
    for point in reading.items(found, "points"):
        labels = reading.number(reading.at(point, "labels"))
        for arm, points in arms.items():
            figure = reading.interval(reading.at(point, arm))
            if labels and figure:
                points.append((labels, figure))
    drawn = chart.learning_curve(arms)
    if drawn is None:
        return None
    names = {arm: str(reading.at(found, arm) or arm) for arm in arms}
    return {"chart": drawn, "names": names, "draws": reading.at(found, "draws")}


def charts(report: Report, speak: Speaker) -> list[tuple[str, chart.Chart]]:
    """Quality against the time to train and to predict; empty where too little is known."""
    ranked, greater = reading.ranked(report), reading.greater_is_better(reading.metric_of(report))
    out = []
    for key, title in (("fit", speak("cost_fit")), ("predict_per_1000", speak("cost_predict"))):
        points = []
        for place, candidate in enumerate(ranked, start=1):
            quality = reading.validation_of(report, candidate)
            seconds = reading.number(reading.at(candidate, "seconds", key))
            if reading.status_of(candidate) == "done" and quality and seconds:
                shown = f"{place}. {reading.name_of(candidate)}: {amounts.with_interval(speak, quality)}, "
                shown += amounts.duration(speak, seconds)
                family, chosen = str(candidate.get("family") or ""), candidate.get("id") == report.get("chosen")
                points.append(chart.Point(str(place), shown, family, seconds, quality, chosen))
        drawn = chart.quality_cost(points, lambda s: amounts.duration(speak, s), greater=greater)
        if drawn:
            out.append((title, drawn))
    return out
