"""Exchanges side by side, in step: when all of them wait for roles, their calls are answered together.

What is answered together depends on the exchanges of the wave alone, never on which of them was quicker; so the same
wave gives the same bytes again.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

from transfuse.teams.desk import Call, Desk, Heard


class GivenUp(Exception):
    """Raised in a member of a wave for which nobody waits any more."""


@dataclasses.dataclass
class _Waiting:
    calls: Sequence[Call]
    heard: list[Heard] | None = None


class Wave:
    """Runs some pieces of work in threads and answers what they ask.

    Args:
        desk: answers calls.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._turn = threading.Condition()
        self._waiting: dict[int, _Waiting] = {}
        self._running: set[int] = set()
        self._broken: list[BaseException] = []

    def answer(self, member: int, calls: Sequence[Call]) -> list[Heard]:
        """What came of a member's calls; called in the member's own thread.

        Raises:
            GivenUp: nobody waits for the member any more.
        """
        with self._turn:
            if member not in self._running:
                raise GivenUp
            slot = self._waiting[member] = _Waiting(calls)
            self._turn.notify_all()
            while slot.heard is None:
                if member not in self._running:
                    raise GivenUp
                self._turn.wait(1.0)
            return slot.heard

    def run(self, works: Sequence[Callable[[], None]], seconds: float) -> set[int]:
        """Run all pieces of work to their ends.

        Args:
            works: each is run in a thread and may call `answer` under its place here.
            seconds: a piece that neither asks nor ends so long is given up.

        Returns:
            the places of those given up.

        Raises:
            whatever a piece of work raised.
        """
        self._running = set(range(len(works)))
        for member, work in enumerate(works):
            threading.Thread(target=self._member, args=(member, work), daemon=True).start()
        given_up: set[int] = set()
        try:
            while self._running:
                given_up |= self._step(seconds)
        finally:
            with self._turn:
                self._running = set()
                self._turn.notify_all()
        if self._broken:
            raise self._broken[0]
        return given_up

    def _member(self, member: int, work: Callable[[], None]) -> None:
        try:
            work()
        except GivenUp:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._broken.append(error)
        finally:
            with self._turn:
                self._running.discard(member)
                self._turn.notify_all()

    def _step(self, seconds: float) -> set[int]:
        """Wait until everyone that runs has asked, then answer them all; those given up on the way."""
        until = time.monotonic() + seconds
        with self._turn:
            while not self._running <= set(self._waiting) and time.monotonic() < until:
                self._turn.wait(max(until - time.monotonic(), 0.001))
            silent = self._running - set(self._waiting)
            self._running -= silent
            ready = sorted((member, slot) for member, slot in self._waiting.items() if member in self._running)
            self._waiting = {}
        if ready:
            heard = iter(self._desk.answer([call for _, slot in ready for call in slot.calls]))
            with self._turn:
                for _, slot in ready:
                    slot.heard = [next(heard) for _ in slot.calls]
                self._turn.notify_all()
        return silent
