"""Which layer, pooling and source promise most, from features that one pass gave; nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from transfuse.advice.distance import mean_discrepancy, proxy_a
from transfuse.advice.label_scores import leep, n_leep
from transfuse.advice.scores import bhattacharyya, h_score, log_evidence, nearest_neighbours, trans_rate
from transfuse.engine.logistic import fit_head
from transfuse.fitted.paths import log_softmax

Score = Callable[[np.ndarray, np.ndarray], float]

PROBED = 5
"""Rows of the rarest class from which on cross-validated probes rank best; below, nearest neighbours do."""
FOLDS, C = 5, 0.1
PERMUTATIONS = 20


def probed(features: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of a logistic head, cross-validated in five parts of the rows; nan where a class has one row."""
    generator = np.random.default_rng(0)
    part = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels == label))
        part[own] = (np.arange(len(own)) + label) % FOLDS
    right, classes = 0, int(labels.max()) + 1
    for k in range(FOLDS):
        train, left = np.flatnonzero(part != k), np.flatnonzero(part == k)
        if not len(train) or not len(left):
            continue
        head = fit_head(features[train], labels[train], classes, c=C)
        right += int((head.logits(features[left]).argmax(1) == labels[left]).sum())
    return right / len(labels)


SCORES: dict[str, Score] = {
    "knn": nearest_neighbours,
    "probe": probed,
    "logme": log_evidence,
    "h_score": h_score,
    "trans_rate": trans_rate,
    "gbc": bhattacharyya,
    "n_leep": n_leep,
}
"""What features are scored by; all are higher where they suit the labels better."""
SLOW = ("n_leep",)
"""Scores that are taken of the best readout alone."""
QUICK = tuple(name for name in SCORES if name not in SLOW)


@dataclasses.dataclass(frozen=True)
class Readout:
    """One way to read a backbone, and its scores.

    Args:
        layer: the layer.
        pooling: the pooling.
        scores: by name.
        z: the same in standard deviations above what shuffled labels give; for the best readouts alone.
    """

    layer: int
    pooling: str
    scores: dict[str, float]
    z: dict[str, float] = dataclasses.field(default_factory=dict)


def decisive(labels: np.ndarray) -> str:
    """The score that ranks best with so many rows a class (docs/benchmarks.md)."""
    return "probe" if np.unique(labels, return_counts=True)[1].min() >= PROBED else "knn"


def readouts(
    features: np.ndarray,
    labels: np.ndarray,
    poolings: Sequence[str],
    *,
    names: Sequence[str] = QUICK,
) -> list[Readout]:
    """Score every layer and pooling, by all scores but the slow ones.

    Args:
        features: float32 [N, L, P, D]; layer 0 is the embeddings' output, and left out.
        labels: int [N].
        poolings: P names.
        names: the scores.

    Returns:
        The best by the decisive score first.
    """
    found = []
    for at, pooling in enumerate(poolings):
        for layer in range(1, features.shape[1]):
            x = features[:, layer, at]
            found.append(Readout(layer, pooling, {name: SCORES[name](x, labels) for name in names}))
    key = decisive(labels)
    return sorted(found, key=lambda r: -r.scores.get(key, 0.0))


def calibrated(readout: Readout, features: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Readout:
    """The readout with all scores, and each in standard deviations above those of shuffled labels.

    Args:
        readout: scored.
        features: float [N, D] at it.
        labels: int [N].
        seed: of the shuffles.
    """
    generator = np.random.default_rng(seed)
    shuffles = [generator.permutation(labels) for _ in range(PERMUTATIONS)]
    scores = {**readout.scores, **{name: SCORES[name](features, labels) for name in SLOW}}
    z = {}
    for name, value in readout.scores.items():
        null = np.array([SCORES[name](features, shuffled) for shuffled in shuffles])
        spread = float(null.std())
        z[name] = (value - float(null.mean())) / spread if np.isfinite(spread) and spread > 0 else float("nan")
    return dataclasses.replace(readout, scores=scores, z=z)


@dataclasses.dataclass(frozen=True)
class SourceScore:
    """What a source promises at one readout.

    Args:
        name: of the source.
        transfer: accuracy on the target's rows of a head that was fitted on the source alone; nan where its labels are
            its own.
        leep: of that head's answers on the target's rows.
        proxy_a, discrepancy: how far it is; these only warn.
    """

    name: str
    transfer: float
    leep: float
    proxy_a: float
    discrepancy: float


def source_score(
    name: str,
    source: tuple[np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray],
    *,
    same_labels: bool,
    seed: int = 0,
) -> SourceScore:
    """Judge a source by a head that knows nothing else.

    Args:
        name: of the source.
        source: features float [N, D] and labels int [N].
        target: features float [M, D] and labels int [M].
        same_labels: whether both label alike.
        seed: of the folds.
    """
    classes = int(max(source[1].max(), target[1].max() if same_labels else 0)) + 1
    head = fit_head(source[0], source[1], classes, c=0.01)
    answers = log_softmax(head.logits(target[0]))
    right = float((answers.argmax(1) == target[1]).mean()) if same_labels else float("nan")
    return SourceScore(
        name,
        right,
        leep(np.exp(answers), target[1]),
        proxy_a(source[0], target[0], seed=seed),
        mean_discrepancy(source[0], target[0]),
    )
