"""Which candidates fit into the time that is left, decided before they are fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transfuse.advice.candidates import Candidate, counterparts
from transfuse.engine.cost import Cost

SHARE = 0.95
"""Share of the budget that may be planned; the rest is for what no estimate sees."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """A candidate with the planner's decision.

    Args:
        candidate: what.
        seconds: the estimate of its fits and their validation, with what no candidate before it has computed.
        room: where it is skipped, the seconds that were left to plan with; None where it runs.
        together: where it is skipped, what it would take with what must run beside it.
        barred: where it is skipped for another reason than time, that reason.
    """

    candidate: Candidate
    seconds: float
    room: float | None = None
    together: float | None = None
    barred: str = ""

    @property
    def reason(self) -> str:
        """Why it is skipped; empty where it runs."""
        if self.room is None:
            return ""
        if self.barred:
            return self.barred
        pair = "" if self.together is None else " with and without its source"
        needed = self.seconds if self.together is None else self.together
        return f"would take about {needed:.0f} s{pair}; {self.room:.0f} s of the budget were left to plan with"

    def to_dict(self) -> dict[str, Any]:
        """For plan.json."""
        return {
            **self.candidate.to_dict(),
            "estimate": round(self.seconds, 1),
            "room": None if self.room is None else round(self.room, 1),
            "together": None if self.together is None else round(self.together, 1),
            "reason": self.reason,
            "barred": self.barred,
        }

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Planned:
        """What `to_dict` wrote."""
        candidate = Candidate.from_dict(fields)
        return Planned(candidate, fields["estimate"], fields["room"], fields["together"], fields.get("barred", ""))


def plan(
    candidates: Sequence[Candidate],
    costs: Mapping[str, Cost],
    fits: int,
    finals: Mapping[str, float],
    budget: float,
    done: Collection[str] = (),
) -> list[Planned]:
    """Take candidates in their order while they fit; a candidate with a source and the same without run both or not.

    Args:
        candidates: in the order of their promise.
        costs: of each, by id.
        fits: how often each is fitted for its validation.
        finals: seconds of fitting the candidate once more and predicting the test with it, should it be chosen.
        budget: seconds that are left.
        done: ids of candidates that have run: what they computed is there, and one of them may be chosen.

    Returns:
        One decision a candidate that is not done, in the same order.
    """
    room = SHARE * budget
    spent, reserve = 0.0, max((finals[identifier] for identifier in done), default=0.0)
    cached: dict[tuple[object, ...], float] = {}
    taken = {c.id: _price(c, costs[c.id], fits, cached) for c in candidates if c.id in done}
    refused: dict[str, tuple[float, float | None]] = {}
    for candidate in candidates:
        if candidate.id in taken or candidate.id in refused:
            continue
        group = [candidate, *_needed(candidate, candidates, taken)]
        trial = dict(cached)
        seconds = {c.id: _price(c, costs[c.id], fits, trial) for c in reversed(group)}
        last = max([reserve, *(finals[c.id] for c in group)])
        free = all(c.family == "baseline" for c in group)
        if free or spent + sum(seconds.values()) + last <= room:
            spent, reserve, cached = spent + sum(seconds.values()), last, trial
            taken.update(seconds)
            continue
        together = sum(seconds.values()) + last if len(group) > 1 else None
        refused |= {c.id: (seconds[c.id] + finals[c.id], together) for c in group if c.id not in refused}
    left = max(room - spent, 0.0)
    return [
        Planned(c, taken[c.id]) if c.id in taken else Planned(c, refused[c.id][0], left, refused[c.id][1])
        for c in candidates
        if c.id not in done
    ]


def _needed(candidate: Candidate, candidates: Sequence[Candidate], taken: Mapping[str, float]) -> list[Candidate]:
    wanted = [identifier for kind, identifier in counterparts(candidate, candidates) if kind == "without source"]
    return [c for c in candidates if c.id in wanted and c.id not in taken]


def _price(candidate: Candidate, cost: Cost, fits: int, cached: dict[tuple[object, ...], float]) -> float:
    """Seconds of a candidate after what is cached; its own passes are added to the cache."""
    seconds = cost.shared + fits * cost.each
    for key, passes in cost.trunk.items():
        known = (candidate.backbone, *key)
        seconds += max(passes - cached.get(known, 0.0), 0.0)
        cached[known] = max(passes, cached.get(known, 0.0))
    return seconds
