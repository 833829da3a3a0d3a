"""The same work by transfuse and by its peers, in alternating order, each run in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, keep

REPEATS = {
    "embed": 5,
    "layers": 3,
    "finetune": 3,
    "prompt": 2,
    "adapters": 2,
    "fewshot": 2,
    "caches": 1,
    "replies": 2,
    "passes": 1,
    "write": 2,
    "distill": 2,
}
"""Works and how often each of their sides runs; the dearest run less often."""

SPIN = "300000"
"""Turns that a thread waits before it sleeps, on both sides: libgomp's own default, the best on an idle machine."""


def run(works: tuple[str, ...] = tuple(REPEATS)) -> None:
    """Run the works; a work's results are kept as soon as it has ended."""
    file = RESULTS / "speed.json"
    for work in works:
        started = time.perf_counter()
        found = _work(work)
        before = json.loads(file.read_text("utf-8"))["works"] if file.exists() else {}
        kept = {**before, work: {**found, "date": time.strftime("%Y-%m-%d")}}
        keep("speed", "python -m benchmarks speed", started, works={w: kept[w] for w in REPEATS if w in kept})


def _work(work: str) -> dict[str, Any]:
    module = importlib.import_module(f"benchmarks.peers.{work}")
    sides = list(module.SIDES)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(REPEATS[work]):
        for side in sides if number % 2 == 0 else reversed(sides):
            runs[side].append(_one(work, side))
            print(work, number, side, {k: v for k, v in runs[side][-1].items() if np.isscalar(v)}, flush=True)
    reference = runs[getattr(module, "REFERENCE", sides[0])][0]
    return {"what": module.WORK, "sides": {side: _summary(found, reference) for side, found in runs.items()}}


def _one(work: str, side: str) -> dict[str, Any]:
    """One run in a fresh process; nothing that another run computed is there."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.one", work, side],
        cwd=ROOT,
        env={
            **os.environ,
            "TRANSFUSE_ACTIVATIONS_GIB": "0",
            "GOMP_SPINCOUNT": SPIN,
            "TOKENIZERS_PARALLELISM": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{work}, {side}:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _summary(found: list[dict[str, Any]], reference: dict[str, Any]) -> dict[str, Any]:
    """Medians and ranges of one side, and how far it agrees with a run of the work's reference, or first, side."""
    out: dict[str, Any] = {
        key: {
            "median": statistics.median(one[key] for one in found),
            "low": min(one[key] for one in found),
            "high": max(one[key] for one in found),
        }
        for key in found[0]
        if isinstance(found[0][key], int | float)
    }
    if "labels" in found[0]:
        same = [a == b for a, b in zip(reference["labels"], found[0]["labels"], strict=True)]
        out["agreement"] = float(np.mean(same))
    if "figures" in found[0]:
        out["equal"] = all(one["figures"] == reference["figures"] for one in found)
    return out
