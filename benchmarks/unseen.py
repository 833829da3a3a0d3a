"""Intents without a single example (CLINC150): the words of the labels, and what other domains' intents teach."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import clinc
from benchmarks.common import keep
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

BACKBONE = "catalog:minilm-l6"
NOTHING = Examples((), ())


def run() -> None:
    """Hold out each pair of neighbouring domains, learn on the other eight, and name the 30 intents of the pair."""
    started = time.perf_counter()
    train, test = clinc.read("train.csv"), clinc.read("test.csv")
    domains = sorted({domain for _, _, domain in train})
    trunk = clinc.trunk(BACKBONE, train)
    rows = []
    for first in range(0, len(domains), 2):
        held = domains[first : first + 2]
        asked = clinc.examples([row for row in test if row[2] in held])
        task = Classify(asked.classes())
        found = {"domains": held, "intents": len(task.labels), "rows": len(asked)}
        for name, related in (("names", {}), ("matching", {"other": clinc.others(train, held)})):
            start = time.perf_counter()
            engine = Engine(trunk, len(task.labels))
            plan = method("matching").plan(task, trunk.backbone, TransferData(NOTHING, {}, related), 0)
            answers = engine.predict(engine.fit(plan), asked.texts).argmax(1)
            found[name] = float((answers == task.encode(asked.labels or ())).mean())
            found[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        rows.append(found)
        print(found, flush=True)
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("names", "matching")}
    keep("unseen", "python -m benchmarks unseen", started, rows=rows, means=means)
