"""Meta-learning against plain fine-tuning: intents of a domain never seen, with one and three examples each."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import clinc
from benchmarks.common import keep
from benchmarks.unseen import BACKBONE
from transfuse.data import draw_shots
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.evaluation import compare
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

DOMAINS, DRAWS = 4, 3
"""Domains that are held out, one at a time, spread over the alphabet; draws of the examples."""
SHOTS = (1, 3)
PLAIN = "finetune"
METHODS = (PLAIN, "probe", "cotuning", "matching", "prototypical", "anil", "reptile")


def run() -> None:
    """Each method that can learns on the other nine domains first; then all learn the examples."""
    started = time.perf_counter()
    train, test = clinc.read("train.csv"), clinc.read("test.csv")
    domains = sorted({domain for _, _, domain in train})
    trunk = clinc.trunk(BACKBONE, train)
    answers: dict[tuple[str, int], list[np.ndarray]] = {(name, shots): [] for name in METHODS for shots in SHOTS}
    truths: dict[int, list[np.ndarray]] = {shots: [] for shots in SHOTS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for held in domains[:: max(len(domains) // DOMAINS, 1)][:DOMAINS]:
        other = clinc.others(train, [held])
        pool, asked = (clinc.examples([row for row in part if row[2] == held]) for part in (train, test))
        task = Classify(pool.classes())
        engine = Engine(trunk, len(task.labels))
        for shots in SHOTS:
            for draw in range(DRAWS):
                target = pool.take(draw_shots(pool.labels or (), shots, draw))
                truths[shots].append(task.encode(asked.labels or ()))
                for name in METHODS:
                    start = time.perf_counter()
                    related = {"other": other} if method(name).uses_related else {}
                    plan = method(name).plan(task, trunk.backbone, TransferData(target, {}, related), 0)
                    answers[name, shots].append(np.exp(engine.predict(engine.fit(plan), asked.texts)))
                    seconds[name] += time.perf_counter() - start
            print(held, shots, {n: round(_accuracy(truths[shots], answers[n, shots]), 3) for n in METHODS}, flush=True)
    rows = []
    for shots in SHOTS:
        truth = np.concatenate(truths[shots])
        plain = np.concatenate(answers[PLAIN, shots])
        for name in METHODS:
            found = np.concatenate(answers[name, shots])
            difference = compare(truth, found, plain, seed=0, groups=_texts(truths[shots]))
            accuracy = float((found.argmax(1) == truth).mean())
            rows.append({"shots": shots, "method": name, "accuracy": accuracy, **difference.to_dict()})
    keep(
        "meta",
        "python -m benchmarks meta",
        started,
        rows=rows,
        fit_seconds={name: round(value, 1) for name, value in seconds.items()},
        domains=DOMAINS,
        draws=DRAWS,
    )


def _accuracy(truths: list[np.ndarray], found: list[np.ndarray]) -> float:
    return float(np.mean([(p.argmax(1) == t).mean() for t, p in zip(truths, found, strict=True)]))


def _texts(truths: list[np.ndarray]) -> np.ndarray:
    """A key for each test text, so that its answers in several draws are drawn together."""
    keys, first = [], 0
    for number, truth in enumerate(truths):
        if number % DRAWS == 0:
            first += len(truth)
        keys.append(first + np.arange(len(truth)))
    return np.concatenate(keys)
