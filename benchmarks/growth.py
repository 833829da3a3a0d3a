"""Seconds and memory from 1,000 to 100,000 texts: the frozen prefix on disk, one epoch over it, all answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, keep
from benchmarks.memory import Memory

COUNTS = (1000, 3000, 10_000, 30_000, 100_000)
LAYERS = 2


def run() -> None:
    """Each number of texts in a process of its own, with a store of its own."""
    started = time.perf_counter()
    rows = []
    for count in COUNTS:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.growth", str(count)]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-4000:])
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(rows[-1], flush=True)
    keep("growth", "python -m benchmarks growth", started, layers=LAYERS, rows=rows)


def one(count: int) -> dict[str, Any]:
    """One number of texts: CLINC150's training texts, each with a number behind it, so that none stands twice."""
    from benchmarks.peers.data import _clinc
    from transfuse.backbones import loading, precision
    from transfuse.engine.jobs import Rows, Schedule
    from transfuse.engine.store import Store
    from transfuse.engine.training import Pupil, train
    from transfuse.engine.trunk import Trunk
    from transfuse.fitted.head import Head

    pairs = _clinc("train.csv")
    texts = [f"{pairs[i % len(pairs)][0]} {i}" for i in range(count)]
    names = sorted({label for _, label in pairs})
    labels = np.array([names.index(pairs[i % len(pairs)][1]) for i in range(count)])
    backbone = loading.load("catalog:minilm-l6")
    arithmetic = str(precision.choose(backbone, texts[:64], 256)["precision"])
    cut = backbone.layers - LAYERS
    out: dict[str, Any] = {"texts": count}
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        start = time.perf_counter()
        trunk = Trunk(backbone, arithmetic, 256, store=Store(Path(folder), 1 << 36))
        states = trunk.states(texts, None, cut)
        out["prefix_seconds"] = time.perf_counter() - start
        out["tokens"] = int(states.lengths.sum())
        out["disk_mib"] = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
        memory.mark()
        start = time.perf_counter()
        segment = backbone.segment(cut, backbone.layers, own=True)
        ones = np.ones(count)
        rows = Rows(tuple(texts), labels, ones, ones > 0)
        schedule = Schedule(5e-4, 1e-3, 0.8, 1, 32, 0.1, 0.01, 0.0, 0.0, 1.0)
        pupil = Pupil(segment, Head.empty(backbone.width, len(names)), "mean", states, rows, schedule, 0)
        (head,) = train(backbone, [pupil], precision=arithmetic)
        out["epoch_seconds"] = time.perf_counter() - start
        start = time.perf_counter()
        features = backbone.pooled(segment, states, "mean", arithmetic)
        found = np.concatenate([head.logits(features[i : i + 8192]).argmax(1) for i in range(0, count, 8192)])
        out["answer_seconds"] = time.perf_counter() - start
        assert len(found) == count
    return {
        **out,
        "memory_mib": memory.most,
        "memory_after_prefix_mib": memory.marked,
        "memory_before_mib": memory.first,
    }


if __name__ == "__main__":
    print(json.dumps(one(int(sys.argv[1]))))
