"""What runs, how long it has run and what is left: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_WORDS = {
    "en": {"left": "left", "of": "of", "budget": "budget", "candidates": "candidates"},
    "zh": {"left": "剩余", "of": "/", "budget": "预算", "candidates": "个候选"},
}
PLAIN_EVERY = 30.0
"""Seconds between two plain lines about the same candidate."""


def duration(seconds: float) -> str:
    """``0:07``, ``12:34`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class StudyProgress:
    """Shows a study on a console; the study calls the methods, in this order, and never waits for them.

    Args:
        console: where to write.
        lang: "en" or "zh".
        clock: seconds, for tests.
    """

    def __init__(self, console: Console, lang: str = "en", clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock, self.words = console, clock, _WORDS[lang]
        self.began = self.candidate_began = clock()
        self.last_plain = float("-inf")
        self.budget: float | None = None
        self.where = self.now = ""
        self.left: float | None = None
        self.fraction: float | None = None
        self.live: Live | None = None

    def start(self, total_seconds: float | None, names: Sequence[str]) -> None:
        """The study begins: its budget, and the candidates that it will run."""
        self.began, self.budget = self.clock(), total_seconds
        text = f"{len(names)} {self.words['candidates']}"
        if total_seconds is not None:
            text += f", {self.words['budget']} {duration(total_seconds)}"
        self.note(text)

    def candidate(self, id: str, index: int, count: int) -> None:
        """A candidate begins; ``index`` counts from 1."""
        self.where, self.now = f"{index}/{count} {id}", ""
        self.left = self.fraction = None
        self.candidate_began = self.clock()
        self._show(at_once=True)

    def update(self, text: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """What the candidate does now; the fraction, 0..1, and the seconds left where they are known."""
        self.now, self.fraction, self.left = text, fraction, seconds_left
        self._show()

    def done(self, id: str, line: str) -> None:
        """A candidate has ended; ``line`` says how."""
        took = duration(self.clock() - self.candidate_began)
        self.where = self.now = ""
        self.left = self.fraction = None
        self._print(f"{id}  {line}  {took}")
        self._show()

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self._print(text)

    def line(self) -> str:
        """The live line as text: elapsed of budget, candidate and its time, what it does, what is left."""
        elapsed = duration(self.clock() - self.began)
        total = f" {self.words['of']} {duration(self.budget)}" if self.budget is not None else ""
        parts = [f"{elapsed}{total}"]
        if self.where:
            parts.append(f"{self.where} {duration(self.clock() - self.candidate_began)}")
        if self.now:
            parts.append(self.now)
        if self.fraction is not None:
            parts.append(f"{min(1.0, max(0.0, self.fraction)):.0%}")
        if self.left is not None:
            parts.append(f"{duration(self.left)} {self.words['left']}")
        return " · ".join(parts)

    def __rich__(self) -> Table:
        grid = Table.grid()
        grid.add_column(overflow="ellipsis", no_wrap=True)
        grid.add_row(Text(self.line(), style="cyan"))
        return grid

    def _show(self, *, at_once: bool = False) -> None:
        if self.live is not None or self.console.is_terminal:
            return
        if at_once or self.clock() - self.last_plain >= PLAIN_EVERY:
            self.last_plain = self.clock()
            self.console.print(self.line(), soft_wrap=True)

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


@contextlib.contextmanager
def progress_on(console: Console, lang: str) -> Iterator[StudyProgress]:
    """A progress display that is gone when the block ends, however it ends."""
    progress = StudyProgress(console, lang)
    if not console.is_terminal:
        yield progress
        return
    with Live(progress, console=console, refresh_per_second=4, transient=True, redirect_stdout=False) as live:
        progress.live = live
        yield progress
