"""Peak memory of a stretch of work."""

from __future__ import annotations

import threading

import torch

INTERVAL = 0.05
"""Seconds between two looks."""


class MemoryWatch:
    """Samples the resident memory of this process while a block runs (and asks the GPU, where there is one).

    Attributes:
        peak: MiB, after the block.
    """

    peak = 0.0

    def __enter__(self) -> MemoryWatch:
        import psutil

        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        if torch.cuda.is_available():
            self.peak += torch.cuda.max_memory_allocated() / 2**20

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._process.memory_info().rss / 2**20)
            if self._done.wait(INTERVAL):
                return
