"""What a study found, in sentences: the page, the terminal and the model card all say these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from transfuse.report import amounts, reading
from transfuse.report.reading import Candidate, Report
from transfuse.report.words import Speaker

NAMED = 5
"""So many candidates are named in a sentence; the rest are counted."""


def explain(report: Report, lang: str) -> list[str]:
    """The findings in sentences of plain text: what was chosen, how good it is, what each transfer was worth, why.

    Args:
        report: a report of schema 1; missing keys leave their sentences out.
        lang: "en" or "zh".

    Returns:
        Sentences, the most important first; never empty.

    Raises:
        UsageError: another language.
    """
    return verdict(report, lang) + reasons(report, lang)


def verdict(report: Report, lang: str) -> list[str]:
    """The sentences of the opening paragraph: the choice, its figures, what the transfer was worth."""
    speak = Speaker(lang)
    chosen = reading.find(report, report.get("chosen"))
    if chosen is None:
        return [speak("say.nothing")]
    about = speak.name("about", chosen.get("family"))
    known = about != str(chosen.get("family") or "")
    name = reading.name_of(chosen)
    first = speak("say.chosen", id=name, about=about) if known else speak("say.chosen_plain", id=name)
    about_sources = [*_sources(report, chosen, speak), *about_curve(report, lang)]
    return [first, *_members(chosen, speak), *_figures(report, chosen, speak), *about_sources, *_probe(chosen, speak)]


def _members(chosen: Candidate, speak: Speaker) -> list[str]:
    """What an ensemble is made of, the heaviest first."""
    found = [m for m in reading.items(chosen, "members") if isinstance(m, Mapping)]
    found.sort(key=lambda m: -(reading.number(m.get("weight")) or 0.0))
    named = [f"{reading.name_of(m)} ({amounts.plain(reading.number(m.get('weight')))})" for m in found]
    return [speak("say.members", members=speak.listed(named))] if named else []


def reasons(report: Report, lang: str) -> list[str]:
    """Why the choice fell as it did: the rule, the next best, what was barred, what did not run."""
    speak = Speaker(lang)
    asked = [*_why(report, speak), *_barred(report, speak), *_not_run(report, speak)]
    return [*asked, *_added(report, speak), *_validation(report, speak)]


def _figures(report: Report, chosen: Candidate, speak: Speaker) -> list[str]:
    name = reading.metric_of(report)
    metric, test = speak.name("metric", name), reading.interval(reading.at(report, "test", name))
    if test is None:
        figure = reading.validation_of(report, chosen)
        shown = amounts.with_interval(speak, figure)
        return [speak("say.validation", metric=metric, figure=shown)] if figure else []
    n = amounts.count(reading.number(report.get("test_rows")))
    out = [speak("say.test", metric=metric, figure=amounts.with_interval(speak, test), n=n)]
    if chosen.get("id") == reading.no_transfer_id(report):
        return [*out, speak("say.is_no_transfer")]
    baseline = reading.interval(reading.at(report, "no_transfer", name))
    if baseline:
        plain = speak.name("plain", reading.no_transfer_method(report))
        out.append(speak("say.no_transfer", plain=plain, figure=amounts.with_interval(speak, baseline)))
    comparison = reading.at(report, "test_comparison")
    difference = reading.interval(reading.at(comparison, "difference"))
    if difference:
        shown = amounts.with_interval(speak, difference, difference=True)
        judged = speak.name("verdict_long", comparison.get("verdict"))
        out.append(speak("say.test_difference", difference=shown, verdict=judged))
    return out + _classes(report, speak)


def _classes(report: Report, speak: Speaker) -> list[str]:
    """The classes on which the choice is better than no transfer, and those on which it is worse."""
    entries = [e for e in reading.items(report, "by_label") if isinstance(e, Mapping)]
    out = []
    for verdict, key in (("helps", "say.classes_gained"), ("hurts", "say.classes_lost")):
        found = [e for e in entries if e.get("verdict") == verdict]
        found.sort(key=lambda e: -abs(reading.number(e.get("difference")) or 0.0))
        named = [f"“{e.get('label')}” ({amounts.signed(reading.number(e.get('difference')))})" for e in found[:NAMED]]
        more = [speak("say.more", n=len(found) - NAMED)] if len(found) > NAMED else []
        labels = _open_end(speak("comma").join([*named, *more])) if more else speak.listed(named)
        out += [speak(key, labels=labels)] if found else []
    return out or ([speak("say.classes_unclear")] if entries else [])


def _worth(key: str, entry: Mapping[str, Any], speak: Speaker, **values: str) -> list[str]:
    """One comparison in words, and what it could not have seen where it gives no evidence."""
    difference = reading.interval(entry.get("difference"))
    shown = amounts.with_interval(speak, difference, difference=True)
    split = speak.name("split", entry.get("split"))
    found = entry.get("verdict")
    judged = speak.name("verdict_long", found) if reading.of_transfer(entry) else speak.name("compared_long", found)
    out = [speak(key, difference=shown, split=split, verdict=judged, **values)]
    detectable, n = reading.number(entry.get("detectable")), reading.number(entry.get("n"))
    if found == "no evidence" and detectable and n:
        out.append(speak("say.detectable", n=amounts.count(n), detectable=amounts.plain(detectable)))
    return out


def _sources(report: Report, chosen: Candidate, speak: Speaker) -> list[str]:
    entries = [(c, t) for c in reading.ranked(report) for t in reading.transfers(c, "without source")]
    out: list[str] = []
    for entry in reading.transfers(chosen, "without source"):
        source = speak.listed(reading.removed_sources(report, chosen, entry))
        out += _worth("say.source", entry, speak, source=source)
    for entry in reading.transfers(chosen, "placebo"):
        out += _worth("say.placebo", entry, speak)
        if entry.get("verdict") != "helps":
            out.append(speak("say.placebo_survives"))
    for why, key in (("time", "say.no_placebo_time"), ("failed", "say.no_placebo_failed")):
        out += [speak(key)] if chosen.get("no_placebo") == why else []
    if entries and not reading.items(chosen, "sources"):
        out.append(speak("say.no_source"))
    return out + _each_source(report, chosen, entries, speak)


def _each_source(
    report: Report, chosen: Candidate, entries: list[tuple[Candidate, Mapping[str, Any]]], speak: Speaker
) -> list[str]:
    """Of each source, or sources together, in how many candidates it helps or hurts, and whether the choice uses it."""
    found: dict[tuple[str, ...], Counter[str]] = {}
    for candidate, entry in entries:
        removed = tuple(reading.removed_sources(report, candidate, entry))
        found.setdefault(removed, Counter())[str(entry.get("verdict"))] += 1
    own = {str(name) for name in reading.items(chosen, "sources")}
    out = []
    for removed, tally in sorted(found.items(), key=lambda item: (len(item[0]), item[0])):
        helps, unclear, hurts = (tally[v] for v in ("helps", "no evidence", "hurts"))
        key = "say.source_used" if set(removed) <= own else "say.source_unused"
        named = speak.listed(list(removed))
        out.append(speak(key, source=named, n=tally.total(), helps=helps, unclear=unclear, hurts=hurts))
    return out


def about_curve(report: Report, lang: str) -> list[str]:
    """What the transfer saved in labels, and what it added at the end; nothing without a curve."""
    speak = Speaker(lang)
    curve = reading.at(report, "curve") or {}
    points = reading.items(curve, "points")
    at, equal, last, sooner = (reading.number(reading.at(curve, key)) for key in ("at", "equal", "last", "sooner"))
    if at is None or last is None or not points:
        return []
    fewest = reading.number(reading.at(points[0], "labels"))

    def labels(count: float) -> str:
        return speak("curve_or_fewer" if count == fewest else "curve_about", n=amounts.count(round(count)))

    key = "say.curve_more" if equal is None else "say.curve_worth"
    out = [speak(key, at=amounts.count(at), equal=labels(equal or 0), last=amounts.count(last))]
    if sooner is not None and sooner < last:
        out.append(speak("say.curve_sooner", sooner=labels(sooner), last=amounts.count(last)))
    end = reading.at(points[-1], "comparison")
    difference = reading.interval(reading.at(end, "difference"))
    if difference:
        shown = amounts.with_interval(speak, difference, difference=True)
        judged = speak.name("verdict_long", reading.at(end, "verdict"))
        key = "say.curve_end" if difference.value > 0 else "say.curve_none"
        out.append(speak(key, last=amounts.count(last), difference=shown, verdict=judged))
    return out


def _probe(chosen: Candidate, speak: Speaker) -> list[str]:
    kinds = {
        "frozen probe": "say.probe",
        "simpler method": "say.simpler",
        "zero-shot": "say.zero_shot",
        "teacher": "say.teacher",
        "best alone": "say.best_alone",
    }
    return [
        sentence
        for kind, key in kinds.items()
        for entry in reading.transfers(chosen, kind)
        for sentence in _worth(key, entry, speak, against=str(entry.get("against", "?")))
    ]


def why_not(candidate: Candidate, speak: Speaker) -> str:
    """Why a candidate did not run, or what went wrong with it."""
    seconds, room, both = (reading.number(candidate.get(key)) for key in ("estimate", "room", "together"))
    if seconds is None or room is None:
        return str(candidate.get("reason") or "")
    key, needed = ("say.no_room", seconds) if both is None else ("say.no_room_for_both", both)
    return speak(key, seconds=amounts.duration(speak, needed), room=amounts.duration(speak, room))


def _why(report: Report, speak: Speaker) -> list[str]:
    chosen = reading.find(report, report.get("chosen"))
    figure = reading.validation_of(report, chosen) if chosen else None
    if chosen is None or figure is None:
        return []
    barred = {reading.at(entry, "id") for entry in reading.items(report, "barred")}
    done = [c for c in reading.with_status(report, "done") if c.get("id") not in barred]
    heard = [c for c in done if not c.get("spoken_for")]
    free = [c for c in heard if not c.get("yields_to")]
    values = {reading.name_of(c): v.value for c in free if (v := reading.validation_of(report, c))}
    better = max if reading.greater_is_better(reading.metric_of(report)) else min
    equal = sum(value == figure.value for value in values.values())
    key = "say.why_gate"
    if values and figure.value == better(values.values()):
        key = "say.why_only" if len(values) == 1 else "say.why_equal" if equal > 1 else "say.why"
    metric = speak.name("metric", reading.metric_of(report))
    n = equal if key == "say.why_equal" else len(values)
    out = [speak(key, metric=metric, figure=amounts.plain(figure.value), n=n)]
    runner_up = next((c for c in free if c.get("id") != chosen.get("id")), None)
    if runner_up and key != "say.why_gate" and (beside := reading.validation_of(report, runner_up)):
        out.append(speak("say.next", id=reading.name_of(runner_up), figure=amounts.with_interval(speak, beside)))
    out += [speak("say.spoken_for", n=len(done) - len(heard))] if len(done) > len(heard) else []
    return out + _yielding(report, [c for c in heard if c.get("yields_to")], speak)


def _yielding(report: Report, found: Sequence[Candidate], speak: Speaker) -> list[str]:
    """Which ensembles another stands for: one without sources, or one whose sources are worth it."""
    others = {reading.name_of(c): reading.find(report, c.get("yields_to")) or {} for c in found}
    lucky = [n for c in found if c.get("sources") and not others[n := reading.name_of(c)].get("sources")]
    out = [speak("say.yields", ids=speak.listed(lucky))] if lucky else []
    for standing in dict.fromkeys(reading.name_of(other) for name, other in others.items() if name not in lucky):
        behind = [n for n, other in others.items() if reading.name_of(other) == standing and n not in lucky]
        out.append(speak("say.stands", id=standing, ids=speak.listed(behind)))
    return out


def _barred(report: Report, speak: Speaker) -> list[str]:
    every = [entry for entry in reading.items(report, "barred") if isinstance(entry, Mapping)]
    entries = [entry for entry in every if not entry.get("cannot_name")]
    out = [speak("say.strict")] if report.get("gate") == "strict" else []
    if silent := [reading.name_of(entry) for entry in every if entry.get("cannot_name")]:
        out.append(speak("say.barred_silent", ids=speak.listed(silent)))
    for entry in entries[:NAMED]:
        reason = _harm(report, entry, speak) or str(entry.get("reason") or speak("say.barred_unsaid"))
        out.append(speak("say.barred", id=reading.name_of(entry), reason=reason))
    return [*out, speak("say.more", n=len(entries) - NAMED)] if len(entries) > NAMED else out


def _harm(report: Report, entry: Mapping[str, Any], speak: Speaker) -> str:
    """The source, or the first comparison, by which a barred candidate hurts, in words; empty where there is none."""
    harm = reading.at(entry, "harm")
    if isinstance(harm, Mapping):
        source = speak.listed([str(name) for name in reading.items(harm, "sources")])
        return speak("say.barred_source", source=source, hurts=harm.get("hurts"), n=harm.get("count"))
    candidate = reading.find(report, entry.get("id")) or {}
    for comparison in reading.items(candidate, "transfer"):
        difference = reading.interval(reading.at(comparison, "difference"))
        if difference and reading.at(comparison, "verdict") == "hurts":
            shown = amounts.with_interval(speak, difference, difference=True)
            split = speak.name("split", comparison.get("split"))
            key = "say.barred_hurts" if reading.of_transfer(comparison) else "say.barred_worse"
            return speak(key, difference=shown, against=comparison.get("against"), split=split)
    return ""


def _not_run(report: Report, speak: Speaker) -> list[str]:
    """What there was no time for, in one sentence for each time that was left; the rest with a reason each."""
    late: dict[float, list[str]] = {}
    others = []
    for one in reading.with_status(report, "skipped"):
        seconds, room, both = (reading.number(one.get(key)) for key in ("estimate", "room", "together"))
        if seconds is None or room is None:
            others.append(one)
        else:
            needed = amounts.duration(speak, both or seconds)
            late.setdefault(room, []).append(speak("say.would_take", id=reading.name_of(one), seconds=needed))
    out = [
        speak("say.no_time", room=amounts.duration(speak, room), n=len(told), ids=_some(told, speak))
        for room, told in late.items()
    ]
    for key, found in (("say.skipped", others), ("say.failed", reading.with_status(report, "failed"))):
        named = [speak("colon").join(filter(None, (reading.name_of(c), why_not(c, speak)))) for c in found]
        out += [speak(key, n=len(found), ids=_some(named, speak))] if found else []
    return out


def _some(told: Sequence[str], speak: Speaker) -> str:
    """The first `NAMED` of them in one sentence, and how many more there are."""
    more = [speak("say.more", n=len(told) - NAMED)] if len(told) > NAMED else []
    return speak("semicolon").join(map(_open_end, [*told[:NAMED], *more]))


def _added(report: Report, speak: Speaker) -> list[str]:
    """The candidates that the recipe does not name: what others are measured against."""
    named = [reading.name_of(c) for c in reading.ranked(report) if c.get("added")]
    return [speak("say.added", ids=speak.listed(named))] if named else []


def _open_end(text: str) -> str:
    """Without the full stop, so that more can follow."""
    return text.rstrip(".。 ")


def _validation(report: Report, speak: Speaker) -> list[str]:
    how = reading.at(report, "validation")
    n = reading.number(reading.at(how, "n"))
    kind = reading.at(how, "kind")
    if n is None or kind not in ("cross-validation", "split"):
        return []
    folds, repeats = reading.at(how, "folds"), reading.at(how, "repeats")
    key = "say.cross-validation_once" if kind == "cross-validation" and repeats == 1 else f"say.{kind}"
    return [speak(key, n=amounts.count(n), folds=folds, repeats=repeats)]
