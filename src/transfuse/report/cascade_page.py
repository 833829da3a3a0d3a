"""What `transfuse cascade` and `transfuse distill` say: figures and sentences for the terminal, and cascade.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfuse.evaluation import Interval
from transfuse.report import amounts, chart, reading
from transfuse.report.html import environment, write_page
from transfuse.report.words import Speaker

MANY = 10_000
"""Answers whose cost is told."""


def write_cascade(figures: Mapping[str, Any], path: Path | str, lang: str) -> Path:
    """Write the figures of a cascade (`Cascade.figures`) as one page.

    Raises:
        UsageError: another language.
        OutputError: a place that cannot be written; names it.
    """
    return write_page(cascade_page_of(figures, lang), path)


def cascade_page_of(figures: Mapping[str, Any], lang: str) -> str:
    """The page as text; everything that stands in ``figures`` is escaped."""
    speak = Speaker(lang)
    chosen = [p["threshold"] for p in figures["curve"]].index(figures["chosen"]["threshold"])
    points = [(p["cost"], Interval.from_dict(p["quality"]), _point(p, speak)) for p in figures["curve"]]
    drawn = chart.cost_curve(points, chosen)
    unit = figures["prices"]["unit"]
    axis = {"seconds": speak("cascade.axis_seconds"), "price": speak("cascade.axis_price")}[unit]
    return (
        environment()
        .get_template("cascade.html")
        .render(
            t=speak,
            lang={"en": "en", "zh": "zh-CN"}[lang],
            name=reading.short(figures["teacher_is"]),
            note=speak("cascade.note", rows=amounts.count(figures["rows"]), data=figures["data"]),
            heads=heads(figures, lang),
            rows=board(figures, lang),
            lines=lines(figures, lang),
            drawn=drawn[0] if drawn else None,
            ring=drawn[1] if drawn else None,
            metric=speak.name("metric", figures["metric"]),
            axis=axis,
        )
    )


def heads(figures: Mapping[str, Any], lang: str) -> list[str]:
    """The heads of the table of figures."""
    speak = Speaker(lang)
    unit = figures["prices"]["unit"]
    cost = {"seconds": speak("cascade.cost_seconds"), "price": speak("cascade.cost_price")}[unit]
    return [speak("cascade.who"), speak.name("metric", figures["metric"]), speak("cascade.asked"), cost]


def board(figures: Mapping[str, Any], lang: str) -> list[list[str]]:
    """Student, teacher and cascade: quality, share asked and cost of many answers, with intervals where there are."""
    speak, found, prices = Speaker(lang), figures["figures"], figures["prices"]
    share = Interval.from_dict(found["share"])
    asked = speak("interval", value=f"{share.value:.0%}", low=f"{share.low:.0%}", high=f"{share.high:.0%}")
    rows = [
        (speak("cascade.student"), found["student"], "0%", prices["student"]),
        (speak("cascade.both"), found["quality"], asked, found["cost"]["value"]),
        (speak("cascade.teacher"), found["teacher"], "100%", prices["teacher"]),
    ]
    return [
        [who, amounts.with_interval(speak, Interval.from_dict(quality)), part, _cost(speak, prices["unit"], cost)]
        for who, quality, part, cost in rows
    ]


def lines(figures: Mapping[str, Any], lang: str) -> list[str]:
    """Goal, choice, differences, and what was not reached, in sentences."""
    speak, found, goal = Speaker(lang), figures["figures"], figures["goal"]
    value = f"{goal['value']:.0%}" if goal["kind"] == "share" else f"{goal['value']:g}"
    metric = speak.name("metric", figures["metric"])
    goals = {
        "teacher": speak("cascade.goal.teacher"),
        "quality": speak("cascade.goal.quality", metric=metric, value=value)
        if figures["greater"]
        else speak("cascade.goal.quality_less", metric=metric, value=value),
        "cost": speak("cascade.goal.cost", value=value),
        "share": speak("cascade.goal.share", value=value),
    }
    differences = (Interval.from_dict(found[key]) for key in ("against_teacher", "against_student"))
    figure, other = (amounts.with_interval(speak, one, difference=True) for one in differences)
    out = [
        goals[goal["kind"]],
        _choice(figures["chosen"]["threshold"], speak),
        speak("cascade.difference", figure=figure, other=other),
    ]
    if found["missed"]:
        out.append(speak("cascade.missed", n=found["missed"], folds=len(found["thresholds"])))
    return [*out, speak("cascade.kept")]


def agreement(about: Mapping[str, Any], lang: str) -> list[str]:
    """How well a student agrees with its teacher, in sentences."""
    speak = Speaker(lang)
    counts = {name: amounts.count(about[name]) for name in ("texts", "labelled")}
    out = [speak("cascade.learnt", teacher=reading.short(about["teacher"]), **counts)]
    for name, figure in about["agreement"].items():
        words = amounts.with_interval(speak, Interval.from_dict(figure))
        held = amounts.count(about["held_out"])
        out.append(speak("cascade.agreement", metric=speak.name("metric", name), n=held, figure=words))
    return out


def _choice(threshold: float | str, speak: Speaker) -> str:
    if threshold == "-inf":
        return speak("cascade.chosen_none")
    if threshold == "inf":
        return speak("cascade.chosen_all")
    return speak("cascade.chosen", threshold=f"{float(threshold):.4g}")


def _cost(speak: Speaker, unit: str, each: float) -> str:
    return amounts.duration(speak, MANY * each) if unit == "seconds" else f"{MANY * each:,.4g}"


def _point(point: Mapping[str, Any], speak: Speaker) -> str:
    """What a dot of the curve says when the pointer rests on it."""
    quality = amounts.with_interval(speak, Interval.from_dict(point["quality"]))
    return f"{_choice(point['threshold'], speak)} {speak('cascade.asked')} {point['share']:.0%}. {quality}"
