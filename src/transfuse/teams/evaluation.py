"""A team on labelled rows: quality, refusals, tokens, seconds and cost, its own and its roles', beside baselines."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.errors import UsageError, nearest
from transfuse.evaluation import metric_intervals, ratio_interval
from transfuse.fitted import FittedModel
from transfuse.teams.contract import REQUEST
from transfuse.teams.credit import credits
from transfuse.teams.labelled import LabelledRows, kinds_of, main_field
from transfuse.teams.message import FAILED, TEAM, USER, Message
from transfuse.teams.outcome_scores import FITS, OUTCOME, Measure, Said, beside_each_other, measures
from transfuse.teams.outcomes import answered
from transfuse.teams.role import Role
from transfuse.teams.team import Team
from transfuse.teams.traces import ANSWERED, REFUSED, STOOD_IN, Trace, Traces, text_of

FORMAT = 1
WORST, REFUSALS = 8, 20
"""Rows that are shown."""

Note = Callable[[str, int, int], None]
"""Told of the name of what is asked, requests done, and requests in all."""


class Runs:
    """What teams answer to the same requests; each keeps a file of traces, so nothing is asked twice.

    A team that has changed since is refused, but of Python functions only the names are known.

    Args:
        requests: N texts.
        folder: of the files; None keeps them in memory.
        note: see `Note`.
    """

    def __init__(self, requests: Sequence[str], folder: Path | None, note: Note = lambda name, done, of: None) -> None:
        self._requests, self._folder, self._note = list(requests), folder, note
        self._found: dict[str, list[Trace]] = {}

    def traces(self, name: str, team: Team) -> list[Trace]:
        """The N exchanges of a team, under a name of its own.

        Raises:
            TeamError: the file of that name is of another team.
        """
        if name not in self._found:
            store = Traces(None if self._folder is None else self._folder / f"{_slug(name)}.sqlite")
            try:
                answers = team.ask_all(
                    self._requests, store, note=lambda done: self._note(name, done, len(self._requests))
                )
                self._found[name] = [store.trace(answer.id) for answer in answers]
            finally:
                store.close()
        return self._found[name]

    def said(self, name: str, team: Team) -> Said:
        """What a team said of each request; see `said_of`."""
        return [said_of(trace) for trace in self.traces(name, team)]


def said_of(trace: Trace) -> Mapping[str, Any]:
    """What all roles have said where an exchange came to an answer (see `answered`); later words count more."""
    answer = answered(trace.outcome, trace.answer)
    if not answer:
        return {}
    fields: dict[str, Any] = {}
    for message in trace.messages:
        if message.sender not in (USER, TEAM) and message.outcome != FAILED:
            fields.update(message.content)
    return {**fields, **answer}


def evaluate(
    team: Team,
    rows: LabelledRows,
    *,
    baselines: Mapping[str, Team] | None = None,
    untrained: Mapping[str, Role] | None = None,
    without: Mapping[str, str] | None = None,
    field: str | None = None,
    metric: str | None = None,
    judge: FittedModel | None = None,
    credit: bool = True,
    folder: Path | None = None,
    seed: int = 0,
    note: Note = lambda name, done, of: None,
) -> dict[str, Any]:
    """Measure a team on labelled rows, beside baselines, with what each trained role and each field is worth.

    Args:
        team: the team.
        rows: labelled rows that no role has learnt from.
        baselines: others that answer with the same field, by name.
        untrained: of trained roles, what they were before, by name; together they are a baseline, too.
        without: why a trained role has no untrained self.
        field: by which the team is judged; see `main_field`.
        metric: of the field, by which teams are compared; None for accuracy, or chrF++ of a text.
        judge: a held-out classifier; see `measures`.
        credit: whether roles are swapped and fields are dropped, each for another run over all rows.
        folder: of the traces; None keeps them in memory.
        seed: of the resamples.
        note: see `Note`.

    Returns:
        the report as JSON; docs/teams.md says what its keys are.

    Raises:
        DataError, UsageError: rows by which nothing can be judged, or not by that metric.
        TeamError: the folder holds the traces of another team.
    """
    rows = rows.of(team)
    field = main_field(rows, team, field)
    known = measures(rows, kinds_of(team), judge)
    own = {measure.name: measure for measure in known.values() if measure.field == field}
    main = _main(own, metric, rows)
    runs = Runs(rows.requests, folder, note)
    trained = dict(untrained or {})
    others = dict(baselines or {}) | ({"untrained": team.replaced(*trained.values())} if trained else {})
    table = [{"name": "team", **_figures(runs.traces("team", team), own, seed)}]
    said = runs.said("team", team)
    against = {name: main.compared(said, runs.said(name, other), seed) for name, other in others.items()}
    for name, comparison in zip(against, beside_each_other(list(against.values())), strict=True):
        found = _figures(runs.traces(name, others[name]), own, seed)
        table.append({"name": name, **found, "team_against_it": comparison.to_dict()})
    return {
        "format": FORMAT,
        "name": team.name,
        "data": rows.origin,
        "rows": len(rows),
        "judged": len(main.places),
        "field": field,
        "metric": main.name,
        "seed": seed,
        "figures": table,
        "roles": [
            _role(role, runs.traces("team", team), known, trained, without or {}, seed) for role in team.roles.values()
        ],
        "credit": credits(team, trained, runs, main, seed) if credit else None,
        **_shown(rows, runs.traces("team", team), main, field),
    }


def _main(own: Mapping[str, Measure], metric: str | None, rows: LabelledRows) -> Measure:
    """The score by which teams are compared."""
    if metric is None:
        return next(iter(own.values()))
    if metric not in own:
        judged = metric in (FITS, OUTCOME)
        raise UsageError(
            f"metric '{metric}': {rows.origin} has no such score.{nearest(metric, tuple(own))}",
            expected=f"one of {', '.join(own)}",
            remedy="Give a held-out classifier as the judge." if judged else "",
        )
    return own[metric]


def _figures(traces: Sequence[Trace], own: Mapping[str, Measure], seed: int) -> dict[str, Any]:
    said = [said_of(trace) for trace in traces]
    found = {name: measure.interval(said, seed) for name, measure in own.items()}
    counts = Counter(trace.outcome for trace in traces)
    right = np.array([[trace.outcome != ANSWERED, trace.outcome == ANSWERED] for trace in traces], dtype=np.float64)
    share = metric_intervals([1] * len(traces), right, seed=seed, names=["accuracy"])["accuracy"]
    return {
        "metrics": {name: interval.to_dict() for name, interval in found.items() if interval is not None},
        "outcomes": {name: counts[name] for name in (ANSWERED, STOOD_IN, REFUSED)},
        "answered": share.to_dict(),
        **_spent([trace.messages for trace in traces], seed),
    }


def _spent(messages: Sequence[Sequence[Message]], seed: int) -> dict[str, Any]:
    """Means of a request, with intervals: tokens, seconds (of a pass that answers several, its share), money."""
    out = {}
    for name, take in (("tokens", "tokens"), ("seconds", "seconds"), ("cost", "cost")):
        each = [sum(float(getattr(message, take)) for message in some) for some in messages]
        out[name] = ratio_interval(np.stack([each, np.ones(len(each))], axis=1), seed=seed).to_dict()
    return out


def _role(
    role: Role,
    traces: Sequence[Trace],
    known: Mapping[str, Measure],
    untrained: Mapping[str, Role],
    without: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """A role's own quality on the requests for which it was asked, and what it takes."""
    messages = [[m for m in trace.messages if m.sender == role.name] for trace in traces]
    calls = [message for some in messages for message in some]
    said = [dict(some[-1].content) if some and some[-1].outcome != FAILED else {} for some in messages]
    asked = [bool(some) for some in messages]
    quality = {}
    for key, measure in known.items():
        interval = measure.interval(said, seed, asked) if measure.field in role.output.fields else None
        if interval is not None:
            quality[key] = {**interval.to_dict(), "n": int(np.asarray(asked)[measure.places].sum())}
    return {
        "name": role.name,
        "trained": role.name in untrained or role.name in without,
        "no_untrained_self": without.get(role.name, ""),
        "calls": len(calls),
        "failed": sum(message.outcome == FAILED for message in calls),
        "quality": quality,
        **_spent(messages, seed),
    }


def _shown(rows: LabelledRows, traces: Sequence[Trace], main: Measure, field: str) -> dict[str, Any]:
    """One exchange to be drawn, the worst answers, and refusals."""
    said = [said_of(trace) for trace in traces]
    scores = dict(zip(map(int, main.places), main.each(said), strict=True))
    places = [i for i in sorted(scores, key=lambda i: (scores[i], i)) if traces[i].outcome == ANSWERED]
    if main.metric == "accuracy":
        places = [i for i in places if scores[i] < 1]
    drawn = max(traces, key=lambda t: (t.outcome == ANSWERED, len({m.sender for m in t.messages}), len(t.messages)))
    return {
        "exchange": {
            "request": drawn.request,
            "outcome": drawn.outcome,
            "reason": drawn.reason,
            "answer": text_of(drawn.answer),
            "messages": [_message(m) for m in drawn.messages if m.sender != USER],
        },
        "worst": [
            {
                "row": rows.rows[i],
                "request": rows.requests[i],
                "expected": rows.fields[field][i],
                "said": text_of({field: said[i].get(field, "")}),
            }
            for i in places[:WORST]
        ],
        "failures": [
            {"row": rows.rows[i], "request": rows.requests[i], "outcome": trace.outcome, "reason": trace.reason}
            for i, trace in enumerate(traces)
            if trace.outcome != ANSWERED
        ][:REFUSALS],
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "sender": message.sender,
        "receiver": message.receiver,
        "given": sorted(message.given, key=lambda name: (name != REQUEST, name)),
        "said": text_of(message.content),
        "problem": message.problem,
        "probability": message.probability,
        "tokens": message.tokens,
        "seconds": message.seconds,
    }


def _slug(name: str) -> str:
    """A name as a file's, told from others that would look alike."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[-60:]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
