"""How many requests and tokens may leave in a minute, by all threads of this process together."""

from __future__ import annotations

import collections
import threading
import time

from transfuse.backbones.remote.faults import Fault


class Stopped(Fault):
    """Another call has failed for good, or the user has stopped it: this one is not made."""


class Limits:
    """Lets calls through so that no minute has more than it may.

    Args:
        requests: calls a minute, or None.
        tokens: tokens a minute, as they are likely to be, or None.
        window: seconds of a minute; less in tests.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None, *, window: float = 60.0) -> None:
        self._requests, self._tokens, self._window = requests, tokens, window
        self._sent: collections.deque[tuple[float, int]] = collections.deque()
        self._paused = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int, stop: threading.Event) -> None:
        """Return when a call of so many tokens may leave.

        Raises:
            Stopped: ``stop`` was set meanwhile.
        """
        while True:
            with self._lock:
                seconds = self._seconds(tokens, time.monotonic())
                if seconds <= 0:
                    self._sent.append((time.monotonic(), tokens))
                    return
            if stop.wait(seconds):
                raise Stopped("stopped")

    def pause(self, seconds: float) -> None:
        """Let nothing through for a while: the service has asked for it."""
        with self._lock:
            self._paused = max(self._paused, time.monotonic() + seconds)

    def _seconds(self, tokens: int, now: float) -> float:
        """How long a call must still wait."""
        while self._sent and self._sent[0][0] <= now - self._window:
            self._sent.popleft()
        if now < self._paused:
            return self._paused - now
        full = self._requests is not None and len(self._sent) >= self._requests
        heavy = self._tokens is not None and self._sent and sum(t for _, t in self._sent) + tokens > self._tokens
        return self._sent[0][0] + self._window - now if full or heavy else 0.0
