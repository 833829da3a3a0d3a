"""150 intents with 10 examples each (CLINC150): accuracy, macro F1, and three ways of out-of-scope detection."""

from __future__ import annotations

import csv
import time

import numpy as np

import transfuse
from benchmarks.common import keep, shared, spread
from transfuse.data import draw_shots
from transfuse.evaluation import auroc, macro_f1
from transfuse.methods.feature.outside import Mahalanobis, energy

SHOTS, DRAWS = 10, 3
BACKBONE = "catalog:minilm-l6"


def _read(name: str) -> tuple[list[str], list[str]]:
    with shared("clinc150", name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row["text"] for row in rows], [row["intent"] for row in rows]


def run() -> None:
    """Fit each method on three draws of 10 rows an intent; the test is read by the settings that the package ships."""
    started = time.perf_counter()
    texts, labels = _read("train.csv")
    test_texts, test_labels = _read("test.csv")
    outside, _ = _read("oos_test.csv")
    methods: dict[str, list[dict[str, float]]] = {"tfidf": [], "probe": [], "finetune": []}
    distances: dict[str, list[float]] = {"Mahalanobis": [], "relative Mahalanobis": []}
    embedder = transfuse.Embedder(BACKBONE)
    seen, asked, foreign = (embedder.encode(x) for x in (texts, test_texts, outside))
    for draw in range(DRAWS):
        rows = draw_shots(labels, SHOTS, draw)
        for name, found in methods.items():
            start = time.perf_counter()
            model = transfuse.TransferClassifier(backbone=BACKBONE, method=name, seed=draw)
            model.fit([texts[i] for i in rows], [labels[i] for i in rows])
            fitted = time.perf_counter() - start
            probabilities = model.predict_proba(test_texts)
            truth = np.searchsorted(model.classes_, test_labels)
            inside, out = (model.model_.path.logits(x) for x in (test_texts, outside))
            found.append(
                {
                    "accuracy": float((probabilities.argmax(1) == truth).mean()),
                    "macro_f1": float(macro_f1(truth, probabilities)),
                    "auroc": float(auroc(inside.max(1), out.max(1))),
                    "energy": float(auroc(energy(inside), energy(out))),
                    "seconds": fitted,
                }
            )
            print(draw, name, found[-1], flush=True)
        shown, named = seen[np.asarray(rows)], [labels[i] for i in rows]
        for name, found_by in distances.items():
            score = Mahalanobis(shown, named, relative=name == "relative Mahalanobis").score
            found_by.append(float(auroc(score(asked), score(foreign))))
    keep(
        "intents",
        "python -m benchmarks intents",
        started,
        shots=SHOTS,
        test_rows=len(test_texts),
        outside_rows=len(outside),
        methods={
            name: {
                key: spread([f[key] for f in found]) for key in ("accuracy", "macro_f1", "auroc", "energy", "seconds")
            }
            for name, found in methods.items()
        },
        distances={name: spread(found) for name, found in distances.items()},
    )
