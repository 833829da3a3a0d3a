"""The page of `transfuse rank`: what each backbone is and promises, drawn as promise against time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.evaluation import Interval
from transfuse.report import amounts, chart, reading
from transfuse.report.html import environment, write_page
from transfuse.report.words import Speaker

SCORES = ("knn", "probe", "logme", "h_score", "trans_rate", "gbc", "n_leep")
SOURCE_SCORES = {"leep": "LEEP", "proxy_a": "proxy-A", "discrepancy": "MMD²"}
COLOURS = ("feature", "parameter", "prompt", "instance", "relation", "merging")
"""Classes of the style sheet that backbones borrow their colours from, in turn."""
SLOWEST = 0.01
"""Texts a second, below which the chart does not tell backbones apart."""


def write_rank(found: Mapping[str, Any], path: Path | str, lang: str) -> Path:
    """Write what `study.rank.rank` found as one page.

    Raises:
        UsageError: another language.
        OutputError: a place that cannot be written; names it.
    """
    return write_page(rank_page_of(found, lang), path)


def rank_page_of(found: Mapping[str, Any], lang: str) -> str:
    """The page as text; everything that stands in ``found`` is escaped."""
    speak = Speaker(lang)
    backbones = found["backbones"]
    key = str(found["decisive"])
    return (
        environment()
        .get_template("rank.html")
        .render(
            t=speak,
            lang={"en": "en", "zh": "zh-CN"}[lang],
            name=str(found["recipe"]),
            rows=amounts.count(found["rows"]),
            decisive=key,
            metric=key,
            scores=SCORES,
            readouts=[row for entry in backbones for row in _readouts(entry)],
            sources=[row for entry in backbones for row in _sources(entry)],
            source_scores=[speak("rank.transfer"), *SOURCE_SCORES.values()],
            charts=[(speak("rank.cost"), drawn)] if (drawn := _chart(backbones, key, speak)) else [],
            colours=[
                (c, reading.short(b["reference"])) for c, b in zip(itertools.cycle(COLOURS), backbones, strict=False)
            ],
        )
    )


def _readouts(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a readout; what the backbone is stands in its first."""
    about = [
        reading.short(entry["reference"]),
        amounts.large(entry["parameters"]),
        amounts.memory(entry["memory_mib"]),
        f"{entry['texts_per_second']:.0f}",
        str(entry["licence"] or ""),
    ]
    return [
        {
            "about": [""] * len(about) if number else about,
            "layer": f"{readout['layer']}/{entry['layers']}",
            "pooling": readout["pooling"],
            "scores": [_figure(readout["scores"].get(name)) for name in SCORES],
            "z": [_figure(readout["z"].get(name), 1) for name in SCORES],
            "first": not number,
        }
        for number, readout in enumerate(entry["readouts"])
    ]


def _sources(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a source, and beside it how far above shuffled labels it is."""
    name, keys = reading.short(entry["reference"]), ("transfer", *SOURCE_SCORES)
    return [
        {
            "words": [name, str(source["name"]), *(_figure(source[key]) for key in keys)],
            "z": [_figure(source.get("z", {}).get(key), 1) for key in keys],
        }
        for source in entry["sources"]
    ]


def _chart(backbones: Sequence[Mapping[str, Any]], key: str, speak: Speaker) -> chart.Chart | None:
    """The decisive score of each readout against the seconds for 1,000 texts, which a lower layer needs fewer of."""
    points = []
    for colour, entry in zip(itertools.cycle(COLOURS), backbones, strict=False):
        for readout in entry["readouts"]:
            value = readout["scores"].get(key)
            if value is None or not math.isfinite(value):
                continue
            seconds = 1000 / max(entry["texts_per_second"], SLOWEST) * readout["layer"] / entry["layers"]
            words = f"{reading.short(entry['reference'])}, {readout['layer']}, {readout['pooling']}: {value:.3f}, "
            best = readout is backbones[0]["readouts"][0]
            words += amounts.duration(speak, seconds)
            quality = Interval(value, value, value)
            points.append(chart.Point(str(readout["layer"]), words, colour, seconds, quality, best))
    return chart.quality_cost(points, lambda s: amounts.duration(speak, s), greater=True)


def _figure(value: float | None, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else amounts.MISSING
