"""What `transfuse team evaluate` says: figures and sentences for the terminal, and report.html of a team."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.evaluation import Interval
from transfuse.report import amounts, reading
from transfuse.report.html import environment, write_page
from transfuse.report.words import Speaker

FEW = 30
"""Rows below which a warning is said."""
LONGEST = 400
"""Letters of a message that is drawn."""


def write_team(report: Mapping[str, Any], path: Path | str, lang: str) -> Path:
    """Write the report of a team (`teams.evaluation.evaluate`) as one page.

    Raises:
        UsageError: another language.
        OutputError: a place that cannot be written; names it.
    """
    return write_page(team_page_of(report, lang), path)


def team_page_of(report: Mapping[str, Any], lang: str) -> str:
    """The page as text; everything that stands in ``report`` is escaped."""
    speak = Speaker(lang)
    team = report["figures"][0]
    return (
        environment()
        .get_template("team.html")
        .render(
            t=speak,
            lang={"en": "en", "zh": "zh-CN"}[lang],
            name=report["name"],
            note=note(report, lang),
            metric=speak.name("metric", report["metric"]),
            verdicts=verdicts(report, lang),
            worths=worths(report, lang),
            figures=[_figures(one, speak) for one in report["figures"]],
            more=[name for name in team["metrics"] if name != report["metric"]],
            priced=any(one["cost"]["value"] > 0 for one in report["figures"]),
            roles=_roles(report, speak),
            fields=_fields(report, speak),
            credited=bool((report["credit"] or {}).get("roles")),
            exchange=_exchange(report, speak),
            worst=report["worst"],
            failures=[{**one, "words": speak.name("outcome", one["outcome"])} for one in report["failures"]],
            failed=team["outcomes"]["refused"] + team["outcomes"]["stood_in"],
        )
    )


def note(report: Mapping[str, Any], lang: str) -> str:
    """What the team was judged by."""
    speak = Speaker(lang)
    return speak(
        "team.note",
        rows=amounts.count(report["rows"]),
        data=report["data"],
        judged=amounts.count(report["judged"]),
        field=report["field"],
        metric=speak.name("metric", report["metric"]),
    )


def heads(report: Mapping[str, Any], lang: str) -> list[str]:
    """The heads of the terminal's table."""
    speak = Speaker(lang)
    metric = speak.name("metric", report["metric"])
    return [speak("team.who"), metric, speak("team.answered"), speak("team.seconds"), speak("team.against")]


def board(report: Mapping[str, Any], lang: str) -> list[list[str]]:
    """Team and baselines for the terminal: quality with its interval, share answered, seconds, and the verdict."""
    speak = Speaker(lang)
    out = []
    for one in report["figures"]:
        against = one.get("team_against_it")
        out.append(
            [
                _who(one["name"], speak),
                _interval(speak, one["metrics"][report["metric"]]),
                f"{one['answered']['value']:.0%}",
                amounts.duration(speak, one["seconds"]["value"]),
                speak.name("verdict", against["verdict"]) if against else "",
            ]
        )
    return out


def verdicts(report: Mapping[str, Any], lang: str) -> list[str]:
    """How the team did against each baseline, and how often it did not answer, in sentences."""
    speak = Speaker(lang)
    out = []
    for one in report["figures"][1:]:
        found = one["team_against_it"]
        words = {"name": _who(one["name"], speak), "figure": _interval(speak, found["difference"], difference=True)}
        out.append(
            {
                "helps": speak("team.better", **words),
                "no evidence": speak("team.unclear", **words),
                "hurts": speak("team.worse", **words),
            }[found["verdict"]]
        )
    counts = report["figures"][0]["outcomes"]
    if report["judged"] < FEW:
        out.append(speak("team.few", n=report["judged"]))
    return [*out, speak("team.failed", refused=counts["refused"], stood_in=counts["stood_in"], rows=report["rows"])]


def worths(report: Mapping[str, Any], lang: str) -> list[str]:
    """What trained roles and fields are worth, in sentences."""
    speak, found = Speaker(lang), report["credit"]
    if not found:
        return []
    out = []
    for one in found["roles"]:
        figure = _interval(speak, one["credit"]["difference"], difference=True)
        words = speak.name("verdict", one["credit"]["verdict"])
        out.append(speak("team.role_worth", role=one["name"], figure=figure, verdict=words))
    for one in found["fields"]:
        figure = _interval(speak, one["worth"]["difference"], difference=True)
        words = speak.name("verdict", one["worth"]["verdict"])
        out.append(speak("team.field_worth", role=one["role"], field=one["field"], figure=figure, verdict=words))
    total = found["sum"]
    if total and len(found["roles"]) > 1:
        figures = {key: _interval(speak, total[key], difference=True) for key in ("credits", "whole", "gap")}
        out.append(speak("team.adds_up", **figures) if total["adds_up"] else speak("team.adds_not", **figures))
    return out


def _figures(one: Mapping[str, Any], speak: Speaker) -> dict[str, Any]:
    """A row of the page's table."""
    against = one.get("team_against_it")
    return {
        "name": _who(one["name"], speak),
        "metrics": {name: _interval(speak, figure) for name, figure in one["metrics"].items()},
        "answered": f"{one['answered']['value']:.0%}",
        "tokens": amounts.count(one["tokens"]["value"]),
        "seconds": amounts.duration(speak, one["seconds"]["value"]),
        "cost": _money(one["cost"]["value"]),
        "difference": _interval(speak, against["difference"], difference=True) if against else "",
        "verdict": against["verdict"] if against else "",
        "verdict_words": speak.name("verdict", against["verdict"]) if against else "",
        "p": f"{against['p']:.3f}" if against and against["verdict"] != "hurts" else "",
    }


def _roles(report: Mapping[str, Any], speak: Speaker) -> list[dict[str, Any]]:
    credits = {one["name"]: one for one in (report["credit"] or {"roles": []})["roles"]}
    out = []
    for role in report["roles"]:
        found = credits.get(role["name"])
        quality = [
            f"{field}: {speak.name('metric', metric)} {_interval(speak, figure)}, n = {figure['n']}"
            for (field, _, metric), figure in ((key.partition("."), f) for key, f in role["quality"].items())
        ]
        out.append(
            {
                "name": role["name"],
                "trained": role["trained"],
                "quality": quality,
                "calls": amounts.count(role["calls"]),
                "failed": role["failed"],
                "tokens": amounts.count(role["tokens"]["value"]),
                "seconds": amounts.duration(speak, role["seconds"]["value"]),
                "cost": _money(role["cost"]["value"]),
                "credit": _worth(found["credit"], speak) if found else None,
                "alone": _worth(found["alone"], speak) if found else None,
                "reason": speak("team.no_self") if role["no_untrained_self"] else "",
            }
        )
    return out


def _fields(report: Mapping[str, Any], speak: Speaker) -> list[dict[str, Any]]:
    found = (report["credit"] or {"fields": []})["fields"]
    return [{"role": one["role"], "field": one["field"], **_worth(one["worth"], speak)} for one in found]


def _worth(found: Mapping[str, Any], speak: Speaker) -> dict[str, str]:
    return {
        "figure": _interval(speak, found["difference"], difference=True),
        "verdict": found["verdict"],
        "words": speak.name("verdict", found["verdict"]),
    }


def _exchange(report: Mapping[str, Any], speak: Speaker) -> dict[str, Any]:
    """The exchange as lanes from left to right, the team's first, and messages from lane to lane."""
    found = report["exchange"]
    lanes = list(dict.fromkeys(name for m in found["messages"] for name in (m["sender"], m["receiver"])))
    lanes = ["team", *(name for name in lanes if name not in ("team", "user"))]
    return {
        "lanes": [report["name"] if name == "team" else name for name in lanes],
        "request": found["request"],
        "answer": found["answer"] or found["reason"],
        "outcome": speak.name("outcome", found["outcome"]),
        "messages": [_arrow(message, lanes, speak) for message in found["messages"]],
    }


def _arrow(message: Mapping[str, Any], lanes: Sequence[str], speak: Speaker) -> dict[str, Any]:
    """Where a message begins and ends, in columns counted from 1, and what stands on it."""
    start, end = (
        lanes.index(name if name in lanes else "team") + 1 for name in (message["sender"], message["receiver"])
    )
    text = message["said"] or message["problem"]
    sure = [] if message["probability"] is None else [f"{message['probability']:.0%}"]
    tokens = [speak("team.tokens_of", n=amounts.count(message["tokens"]))] if message["tokens"] else []
    return {
        "sender": message["sender"],
        "receiver": message["receiver"],
        "left": min(start, end),
        "right": max(start, end),
        "span": abs(start - end) + 1,
        "back": end < start,
        "text": text if len(text) <= LONGEST else f"{text[:LONGEST]} …",
        "failed": bool(message["problem"]),
        "given": speak("comma").join(message["given"]),
        "spent": speak("comma").join([*sure, *tokens, amounts.duration(speak, message["seconds"])]),
    }


def _who(name: str, speak: Speaker) -> str:
    known = {"team": speak("team.team"), "untrained": speak("team.untrained"), "lookup": speak("team.lookup")}
    return known.get(name) or reading.short(name)


def _interval(speak: Speaker, figure: Mapping[str, Any], *, difference: bool = False) -> str:
    interval = Interval(*(float(figure[key]) for key in ("value", "low", "high")))
    return amounts.with_interval(speak, interval, difference=difference)


def _money(value: float) -> str:
    return f"{value:.3g}" if value else amounts.MISSING
