"""Calls of roles: what one lane answers goes into one pass; a call that raises or hangs is contained."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from transfuse.teams.role import Asked, Lane, Reply, Role, raised


@dataclasses.dataclass(frozen=True)
class Call:
    """A role, what it is asked, and how long it may take."""

    role: Role
    asked: Asked
    seconds: float


@dataclasses.dataclass(frozen=True)
class Heard:
    """What came of a call: a reply or a problem, and the time that it took, shared with the calls of its pass."""

    reply: Reply | None
    problem: str
    seconds: float


class Desk:
    """Answers calls, each lane's in passes of its own.

    A thread cannot be ended from outside: one that hangs is left behind. A lane that has left as many threads behind as
    it has to spare is refused at once until one of them comes back.
    """

    def __init__(self) -> None:
        self._hanging: Counter[int] = Counter()
        self._lock = threading.Lock()

    def answer(self, calls: Sequence[Call]) -> list[Heard]:
        """What came of each call; functions run side by side, models one pass after another."""
        heard: list[Heard | None] = [None] * len(calls)
        passes = _passes(calls)
        alone = [(places, self._begun(calls, places)) for places in passes if _lane(calls, places).together == 1]
        many = [places for places in passes if _lane(calls, places).together > 1]
        for places in many:
            self._note(heard, places, self._begun(calls, places).wait())
        for places, job in alone:
            self._note(heard, places, job.wait())
        return [one for one in heard if one is not None]

    def _begun(self, calls: Sequence[Call], places: Sequence[int]) -> _Job:
        lane = _lane(calls, places)
        pairs = [(calls[i].role.speaker, calls[i].asked) for i in places]
        with self._lock:
            if self._hanging[id(lane)] >= lane.spare:
                return _Job.refused(f"still hangs in an earlier call of '{calls[places[0]].role.name}'")
        return _Job(
            lambda: list(lane.answer(pairs)),
            sum(calls[i].seconds for i in places),  # as much as they may take one after another
            lambda more: self._count(lane, more),
        )

    def _count(self, lane: Lane, more: int) -> None:
        with self._lock:
            self._hanging[id(lane)] += more

    @staticmethod
    def _note(heard: list[Heard | None], places: Sequence[int], found: tuple[list[Reply], str, float]) -> None:
        replies, problem, seconds = found
        for number, place in enumerate(places):
            problem = problem or ("" if len(replies) == len(places) else f"gave {len(replies)} replies")
            reply = None if problem else replies[number]
            heard[place] = Heard(reply, problem, seconds / len(places))


def _lane(calls: Sequence[Call], places: Sequence[int]) -> Lane:
    return calls[places[0]].role.speaker.lane


def _passes(calls: Sequence[Call]) -> list[list[int]]:
    """Places of calls that go into one pass, in the order of their first."""
    open_: dict[int, list[int]] = {}
    passes: list[list[int]] = []
    for place, call in enumerate(calls):
        lane = call.role.speaker.lane
        current = open_.get(id(lane))
        if current is None or len(current) >= lane.together:
            current = open_[id(lane)] = []
            passes.append(current)
        current.append(place)
    return passes


class _Job:
    """Work on a thread of its own, waited for as long as it may take; its seconds end where it ends."""

    def __init__(self, work: Callable[[], list[Reply]], seconds: float, count: Callable[[int], None]) -> None:
        self._seconds, self._count = max(seconds, 0.0), count
        self._began, self._took = time.monotonic(), 0.0
        self._found: list[Reply] = []
        self._problem = ""
        self._lock, self._done, self._left = threading.Lock(), threading.Event(), False
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    @staticmethod
    def refused(problem: str) -> _Job:
        """A job that is not begun."""
        job: Any = object.__new__(_Job)
        job._seconds, job._began, job._took, job._found, job._problem = 0.0, time.monotonic(), 0.0, [], problem
        job._done = threading.Event()
        job._done.set()
        refused: _Job = job
        return refused

    def _run(self, work: Callable[[], list[Reply]]) -> None:
        found: list[Reply] = []
        problem = ""
        try:
            found = work()
        except BaseException as error:  # noqa: BLE001 - whatever a role raises is contained, an exit included
            problem = raised(error)
        took = time.monotonic() - self._began
        with self._lock:
            if self._left:
                self._count(-1)
            else:
                self._found, self._problem, self._took = found, problem, took
            self._done.set()

    def wait(self) -> tuple[list[Reply], str, float]:
        """Replies, or a problem; and seconds, of work that is left behind as many as it might take."""
        self._done.wait(max(self._seconds - (time.monotonic() - self._began), 0.0))
        if not self._done.is_set():
            with self._lock:
                if not self._done.is_set():
                    self._left = True
                    self._count(1)
                    return [], f"took longer than {self._seconds:.3g} s", self._seconds
        return self._found, self._problem, self._took
