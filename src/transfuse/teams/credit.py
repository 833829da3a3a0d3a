"""Counterfactual credit: what each trained role, and each field that a role is given, is worth to the team."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from transfuse.evaluation import Comparison
from transfuse.teams.contract import REQUEST
from transfuse.teams.outcome_scores import Measure, Said, beside_each_other
from transfuse.teams.role import Role
from transfuse.teams.team import Team
from transfuse.teams.traces import Trace


class Asks(Protocol):
    """Gives the answers of teams to the same requests."""

    def traces(self, name: str, team: Team) -> list[Trace]:
        """Exchanges under a name."""
        ...

    def said(self, name: str, team: Team) -> Said:
        """What was said in them."""
        ...


def credits(team: Team, untrained: Mapping[str, Role], runs: Asks, measure: Measure, seed: int) -> dict[str, Any]:
    """What roles and fields are worth: the team against the team without them, on the same rows.

    Formula: with theta(S) the figure of the team in which the roles S are trained and the others untrained, and T all
    trained roles: credit of i = theta(T) - theta(T \\ {i}); alone = theta({i}) - theta({}); whole = theta(T) -
    theta({}); gap = sum of credits - whole. A field's worth is theta(T) minus that of the team in which one role is
    not shown the field. Intervals are of paired resamples of the rows, the gap's of all teams at once.

    Args:
        team: the team.
        untrained: of each trained role what it was before.
        runs: where answers are found under the names ``team``, ``untrained``, ``without ROLE``, ``only ROLE`` and
            ``ROLE without FIELD``.
        measure: of the team's answers.
        seed: of the resamples.

    Returns:
        ``roles``: name, credit and alone, each a comparison; ``fields``: role, field and worth; ``sum``: whole, credits
        and gap with intervals, and whether the credits add up to the whole within noise; None without trained roles.

    Cost: two runs over all rows for each trained role (none for the only one), one for all, one for each field.
    Reduces to: one trained role, whose credit is the whole, with a gap of exactly 0.
    Departures: not Shapley values, which take 2^n runs; credit and alone are the two ends over which they average.
    """
    said = runs.said("team", team)
    found = {name: _role(name, team, untrained, runs, measure, said, seed) for name in untrained}
    fields = _fields(team, runs, measure, said, seed)
    tested = beside_each_other([*(c for pair in found.values() for c in pair), *(c for _, _, c in fields)])
    pairs = {name: (tested[2 * i], tested[2 * i + 1]) for i, name in enumerate(found)}
    worths = tested[2 * len(found) :]
    return {
        "roles": [
            {"name": name, "credit": pair[0].to_dict(), "alone": pair[1].to_dict()} for name, pair in pairs.items()
        ],
        "fields": [
            {"role": role, "field": field, "worth": worth.to_dict()}
            for (role, field, _), worth in zip(fields, worths, strict=True)
        ],
        "sum": _sum(team, untrained, runs, measure, said, seed) if untrained else None,
    }


def _swapped(team: Team, untrained: Mapping[str, Role], names: Sequence[str], runs: Asks) -> Said:
    """What the team says with these roles untrained; the same team is asked once."""
    rest = [name for name in untrained if name not in names]
    if not names:
        return runs.said("team", team)
    if not rest:
        key = "untrained"
    elif len(names) == 1:
        key = f"without {names[0]}"
    else:
        key = f"only {rest[0]}"
    return runs.said(key, team.replaced(*(untrained[name] for name in names)))


def _role(
    name: str, team: Team, untrained: Mapping[str, Role], runs: Asks, measure: Measure, said: Said, seed: int
) -> tuple[Comparison, Comparison]:
    """Its credit among trained roles, and its worth among untrained ones."""
    others = [other for other in untrained if other != name]
    credit = measure.compared(said, _swapped(team, untrained, [name], runs), seed)
    alone = measure.compared(
        _swapped(team, untrained, others, runs), _swapped(team, untrained, list(untrained), runs), seed
    )
    return credit, alone


def _fields(team: Team, runs: Asks, measure: Measure, said: Said, seed: int) -> list[tuple[str, str, Comparison]]:
    """Every field of a message that a role was given in some exchange, the user's text aside."""
    given: dict[tuple[str, str], None] = {}
    for trace in runs.traces("team", team):
        for message in trace.messages:
            if message.sender in team.roles:
                given.update(dict.fromkeys((message.sender, field) for field in message.given if field != REQUEST))
    out = []
    for role, field in sorted(given, key=lambda pair: (list(team.roles).index(pair[0]), pair[1])):
        blind = dataclasses.replace(team.roles[role], hidden=(*team.roles[role].hidden, field))
        other = runs.said(f"{role} without {field}", team.replaced(blind))
        out.append((role, field, measure.compared(said, other, seed)))
    return out


def _sum(
    team: Team, untrained: Mapping[str, Role], runs: Asks, measure: Measure, said: Said, seed: int
) -> dict[str, Any]:
    """Whether credits add up: less than the whole where roles do the same, more where they need each other."""
    none = _swapped(team, untrained, list(untrained), runs)
    each = [(-1.0, _swapped(team, untrained, [name], runs)) for name in untrained]
    count = float(len(untrained))
    whole = measure.contrast([(1.0, said), (-1.0, none)], seed)
    credits = measure.contrast([(count, said), *each], seed)
    gap = measure.contrast([(count - 1.0, said), *each, (1.0, none)], seed)
    return {
        "whole": whole.to_dict(),
        "credits": credits.to_dict(),
        "gap": gap.to_dict(),
        "adds_up": gap.low <= 1e-9 and gap.high >= -1e-9,
    }
