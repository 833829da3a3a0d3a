"""What foretells a layer and a source that are yet to be trained: the part of `benchmarks.ranking` that fine-tunes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import Parts
from benchmarks.peers import data
from transfuse.advice.label_scores import clusters
from transfuse.advice.rank import MOST_CLUSTERS, SCORES, SLOW, source_score
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

BACKBONE, TOKENS = "catalog:minilm-l6", 256
TARGET = "vader-amazon-reviews"
SOURCES = ("vader-movie-reviews", "vader-tweets", "vader-nyt")
TOGETHER, NOISE = "all three", "random labels"
NONE = "none"
SHOTS, TEST, SOURCE_ROWS = 32, 1000, 1000
DRAWS = 2
"""Draws of the labelled rows; each is ranked by itself."""
TRAIN_LAYERS = 2
"""Layers below the readout that train, as far as there are so many; what is below is cached."""
SOURCE_SCORES = {"transfer": 1, "leep": 1, "proxy_a": -1, "discrepancy": -1}
"""With their signs: of distances the less the better."""


class Bench:
    """The backbone, what is cached of it, and the rows that everything here is fitted on and judged by."""

    def __init__(self) -> None:
        self.task = Classify(("negative", "positive"))
        self.backbone = loading.load(BACKBONE)
        self.drawn = [data.sentiment(TARGET, 2 * SHOTS, TEST, seed) for seed in range(DRAWS)]
        self.sources = _sources()
        precision = str(arithmetic.choose(self.backbone, self.drawn[0][0][0][:16], TOKENS)["precision"])
        trunk = Trunk(self.backbone, precision, TOKENS)
        texts = [rows[0] for parts in self.drawn for rows in parts]
        for some in (*texts, *(e.texts for examples in self.sources.values() for e in examples.values())):
            trunk.register(some)
        self.trunk, self.engine = trunk, Engine(trunk, len(self.task.labels))

    def reached(self, layer: int, source: str, draw: int) -> float:
        """The test accuracy after fine-tuning up to a layer, on the source first where there is one."""
        (texts, labels), (asked, truth) = self.drawn[draw]
        rows = TransferData(Examples(tuple(texts), tuple(labels)), self.sources[source])
        layers = min(TRAIN_LAYERS, layer)
        settings = {"layer": layer, "train_layers": layers, "source_limit": SOURCE_ROWS}
        path = self.engine.fit(method("finetune").plan(self.task, self.backbone, rows, draw, **settings))
        found = self.engine.predict(path, asked).argmax(1)
        return float((found == self.task.encode(truth)).mean())

    def scores(self, layer: int, draw: int) -> dict[str, float]:
        """What the labelled rows say of a layer, and how deep it is."""
        texts, labels = self.drawn[draw][0]
        y = self.task.encode(labels)
        names = [name for name in SCORES if name not in SLOW or clusters(y) <= MOST_CLUSTERS]
        x = self._read(texts, layer)
        with one_blas_thread():
            return {**{name: SCORES[name](x, y) for name in names}, "depth": float(layer)}

    def source_scores(self, layer: int, source: str, draw: int) -> dict[str, float]:
        """What is said of a source at a layer, turned so that more promises more."""
        every = self.sources[source].values()
        texts = [text for examples in every for text in examples.texts]
        y = np.concatenate([self.task.encode(examples.labels or ()) for examples in every])
        own = self.drawn[draw][0]
        target = self._read(own[0], layer), self.task.encode(own[1])
        with one_blas_thread():
            found = source_score(source, (self._read(texts, layer), y), target, same_labels=True)
        return {name: sign * getattr(found, name) for name, sign in SOURCE_SCORES.items()}

    def _read(self, texts: Sequence[str], layer: int) -> np.ndarray:
        return self.trunk.features(texts, None, [layer])[:, 0, 0]


def _sources() -> dict[str, dict[str, Examples]]:
    """What is learnt first, by name: nothing, each source, all of them, and one whose labels are shuffled."""
    each = {}
    for name in SOURCES:
        texts, labels = data.sentiment(name, SOURCE_ROWS, 2)[0]
        order = np.random.default_rng(0).permutation(len(texts))  # as a study shuffles them
        each[name] = Examples(tuple(texts[i] for i in order), tuple(labels[i] for i in order))
    first = each[SOURCES[0]]
    mixed = np.random.default_rng(1).permutation(first.labels or ())
    noise = Examples(first.texts, tuple(map(str, mixed)))
    return {NONE: {}, **{name: {name: each[name]} for name in SOURCES}, TOGETHER: each, NOISE: {NOISE: noise}}


def measured(parts: Parts, layers: Sequence[int] = (), sources: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Fine-tune every layer with every source, and say of each draw what its scores and its test accuracies are.

    Args:
        parts: keep what is done.
        layers, sources: fewer than all, to try it.

    Returns:
        For each draw ``draw``, and of each combination ``layer``, ``source``, ``reached`` and ``scores``.

    Cost: 36 fits a draw, of which those on a source train on it once for all draws.
    """
    bench = Bench()
    layers = layers or range(1, bench.backbone.layers + 1)
    rows: list[dict[str, Any]] = [{"draw": draw, "combinations": []} for draw in range(DRAWS)]
    for layer in layers:
        for source in sources or bench.sources:
            for draw, row in enumerate(rows):
                named = f"{layer}-{source}-{draw}".replace(" ", "-")
                scores = bench.scores(layer, draw)
                if source != NONE:
                    scores |= bench.source_scores(layer, source, draw)
                reached = parts.part(f"trained-{named}", bench.reached, layer, source, draw)
                row["combinations"].append({"layer": layer, "source": source, "reached": reached, "scores": scores})
    return rows
