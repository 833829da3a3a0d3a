"""Intents without a single example (CLINC150): the words of the labels, and what other domains' intents teach."""

from __future__ import annotations

import csv
import time

import numpy as np

from benchmarks.common import keep, shared
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

BACKBONE = "catalog:minilm-l6"
NOTHING = Examples((), ())


def run() -> None:
    """Hold out each pair of neighbouring domains, learn on the other eight, and name the 30 intents of the pair."""
    started = time.perf_counter()
    train, test = _read("train.csv"), _read("test.csv")
    domains = sorted({domain for _, _, domain in train})
    backbone = loading.load(BACKBONE)
    precision = str(arithmetic.choose(backbone, [text for text, _, _ in train[:16]], 256)["precision"])
    trunk = Trunk(backbone, precision, 256)
    rows = []
    for first in range(0, len(domains), 2):
        held = domains[first : first + 2]
        source = [row for row in train if row[2] not in held]
        source = [source[i] for i in np.random.default_rng(0).permutation(len(source))]
        asked = [row for row in test if row[2] in held]
        task = Classify(tuple(sorted({intent for _, intent, _ in asked})))
        other = Examples(tuple(text for text, _, _ in source), tuple(intent for _, intent, _ in source))
        found = {"domains": held, "intents": len(task.labels), "rows": len(asked)}
        for name, related in (("names", {}), ("matching", {"other": other})):
            start = time.perf_counter()
            engine = Engine(trunk, len(task.labels))
            path = engine.fit(method("matching").plan(task, backbone, TransferData(NOTHING, {}, related), 0))
            answers = engine.predict(path, [text for text, _, _ in asked]).argmax(1)
            truth = task.encode([intent for _, intent, _ in asked])
            found[name] = float((answers == truth).mean())
            found[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        rows.append(found)
        print(found, flush=True)
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("names", "matching")}
    keep("unseen", "python -m benchmarks unseen", started, rows=rows, means=means)


def _read(name: str) -> list[tuple[str, str, str]]:
    with shared("clinc150", name).open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["intent"], row["domain"]) for row in csv.DictReader(stream)]
