"""Which arithmetic a fitted model answers in: tried on real texts, never hoped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.backbones import int8
from transfuse.backbones.precision import processor_has_bf16
from transfuse.fitted.head import HeadPath
from transfuse.fitted.paths import Path, WrittenPath

AGREEMENT = 0.98
"""Least share of the texts that get the label, or the answer, that fp32 gives them."""
GAIN = 1.05
"""Least factor by which another arithmetic must be faster."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One arithmetic against fp32 on the same texts.

    Args:
        precision: ``fp32``, ``bf16`` or ``int8``.
        speedup: seconds in fp32 over seconds in this one, the quicker of two passes each.
        agreement: share of the texts that get the same label or answer.
    """

    precision: str
    speedup: float
    agreement: float

    @property
    def good(self) -> bool:
        """Faster, and it agrees."""
        return self.speedup >= GAIN and self.agreement >= AGREEMENT


def offered(path: Path | WrittenPath) -> list[str]:
    """The arithmetic that this machine and this kind of path have, fp32 first."""
    out = ["fp32"]
    if path.kind in ("head", "prompt", "retrieved", "ensemble", "writer", "span") and processor_has_bf16():
        out.append("bf16")
    if isinstance(path, HeadPath) and not path.backbone.crosses and int8.usable():
        out.append(int8.INT8)
    return out


def trials(path: Path | WrittenPath, texts: Sequence[str]) -> list[Trial]:
    """Try every arithmetic on some texts, in turn, so that a busy machine slows all alike.

    Cost: three passes over the texts in each, and the making of the int8 graph once.
    """
    names = offered(path)
    seconds = dict.fromkeys(names, float("inf"))
    told: dict[str, np.ndarray] = {}
    for number in range(3):  # the first pass warms up
        for name in names:
            start = time.perf_counter()
            told[name] = _answers(path, texts, name)
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return [Trial(name, seconds["fp32"] / seconds[name], float((told[name] == told["fp32"]).mean())) for name in names]


def _answers(path: Any, texts: Sequence[str], precision: str) -> np.ndarray:
    """What a path says of each text: a label's position, or an answer."""
    if hasattr(path, "answers"):
        return np.asarray(path.answers(texts, precision))
    return np.asarray(path.logits(texts, precision).argmax(1))


def fastest(found: Sequence[Trial]) -> Trial:
    """The fastest of those that agree; fp32, which comes first, where none of the others does."""
    return max((trial for trial in found if trial.good), key=lambda trial: trial.speedup, default=found[0])
