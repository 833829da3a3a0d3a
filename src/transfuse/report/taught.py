"""What the page says of teachers beside their student: quality, agreement, size, speed, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transfuse.report import amounts, reading
from transfuse.report.reading import Report
from transfuse.report.words import Speaker


def teachers(report: Report, speak: Speaker) -> list[dict[str, Any]]:
    """Each teacher with its student: a table of both, a sentence on their agreement, and texts on which they differ."""
    return [_one(found, report, speak) for found in reading.items(report, "teachers") if isinstance(found, Mapping)]


def _one(found: Mapping[str, Any], report: Report, speak: Speaker) -> dict[str, Any]:
    if found.get("reason"):
        return {"name": str(found.get("name", "")), "figures": [], "note": str(found["reason"]), "differ": []}
    figures: list[tuple[str, str, str]] = []
    own = reading.at(report, "test") or {}
    for metric, figure in (reading.at(found, "test") or {}).items():
        sides = (amounts.with_interval(speak, reading.interval(x)) for x in (reading.at(own, metric), figure))
        figures.append((speak.name("metric", metric), *sides))  # type: ignore[arg-type]
    shown: dict[str, Callable[[float | None], str]] = {
        "parameters": amounts.large,
        "memory_mib": amounts.memory,
        "texts_a_second": lambda rate: amounts.count(rate) if rate and rate >= 100 else amounts.plain(rate),
        "seconds_of_10000": lambda seconds: amounts.duration(speak, seconds),
        "money_of_10000": amounts.plain,
    }
    for key, form in shown.items():
        sizes = [reading.number(reading.at(found, side, key)) for side in ("student", "teacher")]
        if any(size is not None for size in sizes):
            figures.append((speak.name("taught", key), form(sizes[0]), form(sizes[1])))
    return {
        "name": str(found.get("name", "")),
        "figures": figures,
        "note": speak(
            "taught.note",
            agreement=amounts.with_interval(speak, reading.interval(reading.at(found, "agreement"))),
            difference=amounts.with_interval(
                speak, reading.interval(reading.at(found, "difference", "difference")), difference=True
            ),
        ),
        "differ": [d for d in reading.items(found, "differ") if isinstance(d, Mapping)],
    }
