"""What the sides share: the clock, the memory, the models' folders."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of a call and what it returned."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def memory_mib() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def folder(name: str) -> Path:
    """A model of the catalog as a folder that every library reads."""
    from transfuse.backbones import loading

    return loading.load(f"catalog:{name}").folder
