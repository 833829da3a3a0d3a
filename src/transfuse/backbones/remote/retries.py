"""When a call that failed is tried again: later each time, by chance, and never before the service wants it."""

from __future__ import annotations

import dataclasses
import email.utils
import random
import time
from collections.abc import Mapping

FIRST, LONGEST, TOTAL, ATTEMPTS = 0.5, 60.0, 600.0, 6
"""Seconds before the second try, between two at most, for all of one question, and tries."""


@dataclasses.dataclass(frozen=True)
class Patience:
    """How often and how late a call is tried again.

    The n-th wait is drawn evenly from 0 to ``first`` · 2ⁿ ("full jitter"), at most ``longest``; where the service says
    how long to wait, it is that, and up to ``first`` more, so that not all come back in the same moment.

    Args:
        attempts: tries in all.
        first, longest, total: seconds; see `FIRST`.
    """

    attempts: int = ATTEMPTS
    first: float = FIRST
    longest: float = LONGEST
    total: float = TOTAL

    def delay(self, failed: int, after: float | None, spent: float, chance: random.Random) -> float | None:
        """Seconds to wait after so many tries that failed, or None to give up.

        Args:
            failed: tries so far, from 1.
            after: what the service asks for, or None.
            spent: seconds since the first try.
            chance: draws the jitter.
        """
        if failed >= self.attempts:
            return None
        wait = chance.uniform(0, min(self.first * 2.0 ** (failed - 1), self.longest))
        if after is not None:
            wait = after + chance.uniform(0, self.first)
        return wait if spent + wait <= self.total else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after")
    seconds = _number(told)
    if seconds is None and told:
        try:
            seconds = email.utils.parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return None if seconds is None else max(seconds, 0.0)


def _number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None
