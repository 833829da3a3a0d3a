"""Where the seconds of the main job go, and how far its largest parts are from what the processor can do."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, keep

PASSES, TRAINING, SCORING = "frozen passes", "training", "prompts"


class Stopwatch:
    """Seconds by part and model; what runs inside another part counts for that part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, float] = {}
        self._inside = False

    def wrap(self, part: str, function: Callable[..., Any], count: Callable[..., tuple[str, float]] | None) -> Any:
        """The function, timed; ``count`` gives the model's name and the floating-point operations of a call."""

        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            if self._inside:
                return function(*given, **named)
            self._inside, start = True, time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                seconds = time.perf_counter() - start
                self._inside = False
                name, operations = count(*given, **named) if count else ("", 0.0)
                key = f"{part}: {name}" if name else part
                self.seconds[key] = self.seconds.get(key, 0.0) + seconds
                self.operations[key] = self.operations.get(key, 0.0) + operations

        return timed


@contextlib.contextmanager
def watched(watch: Stopwatch) -> Iterator[None]:
    """The parts of a study, timed while the block runs."""
    from transfuse.backbones import huggingface, loading, precision, scoring
    from transfuse.engine import fit
    from transfuse.study import decide

    backbone = huggingface.Backbone
    places: list[tuple[Any, str, str, Any]] = [
        (loading, "load", "loading models", None),
        (precision, "choose", "trials and prices", None),
        (decide, "price", "trials and prices", None),
        (backbone, "tokens", "tokenizing", None),
        (backbone, "features", PASSES, lambda b, tokens, layers, *_: _passed(b, tokens, max(max(layers), 1))),
        (backbone, "states", PASSES, lambda b, tokens, cut, *_: _passed(b, tokens, max(cut, 1))),
        (backbone, "pooled", "answers through trained layers", None),
        (fit, "train", TRAINING, _trained),
        (scoring.LabelScorer, "score", SCORING, lambda s, texts: (_short(s.backbone), 0.0)),
        (fit, "fit_head", "heads and layer choice", None),
        (fit, "correct_head", "heads and layer choice", None),
        (fit, "choose_c", "heads and layer choice", None),
        (fit, "ridge_loo", "heads and layer choice", None),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _, _ in places]
    for place, name, part, count in places:
        setattr(place, name, watch.wrap(part, getattr(place, name), count))
    try:
        yield
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def _short(backbone: Any) -> str:
    return str(backbone.reference).rpartition(":")[2]


def _layer_parameters(backbone: Any) -> int:
    from transfuse.backbones.anatomy import at

    return sum(p.numel() for p in at(backbone.base(), backbone.anatomy.layers)[0].parameters())


def _passed(backbone: Any, tokens: list[list[int]], layers: int) -> tuple[str, float]:
    """Two operations a parameter and token; padding is no work."""
    return _short(backbone), 2.0 * _layer_parameters(backbone) * layers * sum(map(len, tokens))


def _trained(backbone: Any, pupils: Any, **_: Any) -> tuple[str, float]:
    """Forward two operations a parameter and token, backward four."""
    work = sum(float(one.states.lengths.sum()) * one.schedule.epochs * len(one.segment.layers) for one in pupils)
    return _short(backbone), 6.0 * _layer_parameters(backbone) * work


def peak(dtype: str) -> float:
    """Operations a second of the best of ten large matrix products."""
    import torch

    a, b = (torch.randn(2048, 2048).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def run() -> None:
    """The main job once, watched."""
    import transfuse

    started = time.perf_counter()
    peaks = {name: peak(dtype) for name, dtype in (("fp32", "float32"), ("bf16", "bfloat16"))}
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, watched(watch):
        start = time.perf_counter()
        study = transfuse.run(ROOT / "examples" / "reviews.yaml", out=Path(folder) / "out")
        seconds = time.perf_counter() - start
    parts = [
        {"part": part, "seconds": spent, "operations": watch.operations[part]}
        for part, spent in sorted(watch.seconds.items(), key=lambda item: -item[1])
    ]
    keep(
        "profile",
        "python -m benchmarks profile",
        started,
        study_seconds=seconds,
        parts=parts,
        rest=seconds - sum(watch.seconds.values()),
        peaks=peaks,
        chosen=study.report["chosen"],
        precision=study.report["machine"].get("precision"),
    )
    for part in parts:
        print(part)
