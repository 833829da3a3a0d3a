"""The rows of the tables of candidates, in words and shares of a scale, for the page and the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from transfuse.evaluation import Interval
from transfuse.report import amounts, reading, sentences
from transfuse.report.reading import Candidate, Report
from transfuse.report.words import Speaker

SETTINGS = 160
"""So many characters of a candidate's settings are shown."""


@dataclasses.dataclass(frozen=True)
class Bar:
    """An interval drawn on a common scale, in percent of its width; ``mark`` is what it is seen against."""

    low: float
    value: float
    high: float
    mark: float | None


@dataclasses.dataclass(frozen=True)
class Worth:
    """A comparison in words: who against whom, on what, with which verdict."""

    id: str
    chosen: bool
    against: str
    sources: str
    split: str
    n: str
    difference: str
    bar: Bar
    verdict: str
    verdict_words: str
    mcnemar: str
    detectable: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A candidate in words; ``place`` counts the candidates that ran, from 1."""

    place: int | None
    id: str
    chosen: bool
    reference: bool
    family: str
    family_words: str
    method: str
    backbone: str
    sources: str
    settings: str
    value: str
    interval: str
    bar: Bar | None
    verdict: str
    verdict_words: str
    difference: str
    fit: str
    predict: str
    tokens: str
    parameters: str
    memory: str
    status: str
    status_words: str
    reason: str


class Scale:
    """Shares, in percent, of the span that holds all of some intervals and a mark, with a little air."""

    def __init__(self, intervals: Iterable[Interval], mark: float | None) -> None:
        ends = [end for figure in intervals for end in (figure.low, figure.high)] + ([] if mark is None else [mark])
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        air = (high - low) * 0.05 or 0.01
        self.low, self.span, self.mark = low - air, high - low + 2 * air, mark

    def place(self, value: float) -> float:
        """0..100."""
        return round(100 * (value - self.low) / self.span, 2)

    def bar(self, figure: Interval) -> Bar:
        """The interval on this scale."""
        mark = None if self.mark is None else self.place(self.mark)
        return Bar(self.place(figure.low), self.place(figure.value), self.place(figure.high), mark)


def settings_of(candidate: Candidate) -> str:
    """``train_layers=2, lr=0.0001``, or the weights of an ensemble's members; shortened."""
    settings = candidate.get("settings")
    if not isinstance(settings, Mapping):
        return ""
    members = [m for m in reading.items(candidate, "members") if isinstance(m, Mapping)]
    weights = [f"{amounts.plain(reading.number(m.get('weight')))} {reading.name_of(m)}" for m in members]
    text = ", ".join([*weights, *(f"{key}={value}" for key, value in settings.items() if value is not None)])
    return text if len(text) <= SETTINGS else text[: SETTINGS - 1] + "…"


def leaderboard(report: Report, speak: Speaker) -> list[Row]:
    """One row a candidate, best first, then those that did not run."""
    ranked = reading.ranked(report)
    figures = {id(c): reading.validation_of(report, c) for c in ranked}
    reference = reading.no_transfer_id(report)
    baseline = reading.validation_of(report, reading.find(report, reference) or {})
    scale = Scale([f for f in figures.values() if f], baseline.value if baseline else None)
    return [_row(report, c, k, figures[id(c)], scale, reference, speak) for k, c in enumerate(ranked, start=1)]


def _row(
    report: Report,
    candidate: Candidate,
    place: int,
    figure: Interval | None,
    scale: Scale,
    reference: str | None,
    speak: Speaker,
) -> Row:
    status, sources = reading.status_of(candidate), [str(s) for s in reading.items(candidate, "sources")]
    entry: Mapping[str, Any] = next(iter(reading.transfers(candidate, "no transfer")), {})
    low_high = f"{amounts.plain(figure.low)} – {amounts.plain(figure.high)}" if figure else ""
    seconds = {key: reading.number(reading.at(candidate, "seconds", key)) for key in ("fit", "predict_per_1000")}
    return Row(
        place=place if status == "done" else None,
        id=reading.name_of(candidate),
        chosen=report.get("chosen") is not None and candidate.get("id") == report.get("chosen"),
        reference=reading.name_of(candidate) == reference,
        family=str(candidate.get("family") or ""),
        family_words=speak.name("family", candidate.get("family")),
        method=str(candidate.get("method") or ""),
        backbone=reading.short(candidate.get("backbone")),
        sources=speak("with_sources", sources=speak.listed(sources)) if sources else speak("without_sources"),
        settings=settings_of(candidate),
        value=amounts.plain(figure.value if figure else None),
        interval=low_high,
        bar=scale.bar(figure) if figure else None,
        verdict=str(entry.get("verdict") or ""),
        verdict_words=speak.name("verdict", entry.get("verdict")),
        difference=amounts.with_interval(speak, reading.interval(entry.get("difference")), difference=True),
        fit=amounts.duration(speak, seconds["fit"]),
        tokens=_tokens(candidate),
        predict=amounts.duration(speak, seconds["predict_per_1000"]),
        parameters=amounts.large(reading.number(candidate.get("trainable_parameters"))),
        memory=amounts.memory(reading.number(candidate.get("peak_memory_mib"))),
        status=status,
        status_words=speak.name("status", status),
        reason=sentences.why_not(candidate, speak),
    )


def _tokens(candidate: Mapping[str, Any]) -> str:
    """Tokens read and written for one answer; empty where none is written."""
    read, written = (reading.number(reading.at(candidate, "tokens", key)) for key in ("read", "written"))
    return "" if read is None or written is None else f"{amounts.count(round(read))} + {amounts.count(round(written))}"


def comparisons(report: Report, kind: str, speak: Speaker) -> list[Worth]:
    """All comparisons of one kind, in the order of the leaderboard, on one scale around zero."""
    entries = [(c, entry) for c in reading.ranked(report) for entry in reading.transfers(c, kind)]
    found = [f for _, entry in entries if (f := reading.interval(entry.get("difference")))]
    scale = Scale(found, 0.0)
    return [_worth(report, c, entry, f, scale, speak) for (c, entry), f in zip(entries, found, strict=True)]


def _worth(
    report: Report, candidate: Candidate, entry: Mapping[str, Any], figure: Interval, scale: Scale, speak: Speaker
) -> Worth:
    found = entry.get("verdict")
    return Worth(
        id=reading.name_of(candidate),
        chosen=report.get("chosen") is not None and candidate.get("id") == report.get("chosen"),
        against=speak("against", id=str(entry.get("against", "?"))),
        sources=speak.listed(reading.removed_sources(report, candidate, entry)),
        split=speak.name("split", entry.get("split")),
        n=amounts.count(reading.number(entry.get("n"))),
        difference=amounts.with_interval(speak, figure, difference=True),
        bar=scale.bar(figure),
        verdict=str(found or ""),
        verdict_words=speak.name("verdict", found) if reading.of_transfer(entry) else speak.name("compared", found),
        mcnemar=amounts.plain(reading.number(entry.get("mcnemar"))),
        detectable=amounts.plain(reading.number(entry.get("detectable"))),
    )
