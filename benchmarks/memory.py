"""The most memory that this process takes while something runs."""

from __future__ import annotations

import threading
from pathlib import Path

ANONYMOUS, RESIDENT = "RssAnon", "VmRSS"
"""What mapped files take can be dropped at any time: with it, or without it."""


class Memory:
    """Memory of this process in MiB, read 20 times a second.

    Args:
        kind: `ANONYMOUS` or `RESIDENT`.

    Attributes:
        first, most, marked: at the beginning, at most, and when `mark` was called.
    """

    def __init__(self, kind: str = ANONYMOUS) -> None:
        self._kind = kind

    def __enter__(self) -> Memory:
        self.first = self.most = self._read()
        self.marked = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            self.most = max(self.most, self._read())

    def mark(self) -> None:
        """Remember what it is now."""
        self.marked = self._read()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _read(self) -> float:
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith(f"{self._kind}:"):
                return int(line.split()[1]) / 1024
        return 0.0
