"""Which layer, pooling and source promise most, from features that one pass gave; nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from transfuse.advice.distance import mean_discrepancy, proxy_a
from transfuse.advice.label_scores import clusters, leep, n_leep
from transfuse.advice.scores import (
    bhattacharyya,
    h_score,
    log_evidence,
    nearest,
    nearest_neighbours,
    trans_rate,
    voted,
)
from transfuse.engine.logistic import fit_head
from transfuse.fitted.paths import log_softmax

Score = Callable[[np.ndarray, np.ndarray], float]

PROBED = 5
"""Rows of the rarest class from which on cross-validated probes rank best; below, nearest neighbours do."""
FOLDS, C = 5, 0.1
PERMUTATIONS, FEWEST = 20, 5
"""Shuffles of the labels that a score is compared with, and of many rows, classes and readouts the fewest."""
WORK = 5_000_000
"""Shuffles x readouts x rows x classes, above which there are fewer shuffles: seconds of probes."""
MOST_CLUSTERS = 60
"""Clusters of N-LEEP above which it takes too long to be compared with shuffled labels."""


def probed(features: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of a logistic head, cross-validated in five parts of the rows.

    A class of one row counts as wrong, since no head has seen it; nan where all classes are of one row.
    """
    if len(np.unique(labels)) == len(labels):
        return float("nan")
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
        z: the same in standard deviations above what the best readout by shuffled labels gives (see `calibrated`).
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


def calibrated(
    found: Sequence[Readout],
    features: np.ndarray,
    labels: np.ndarray,
    poolings: Sequence[str],
    *,
    seed: int = 0,
) -> list[Readout]:
    """The readouts with each score in standard deviations above those of shuffled labels; the best has all scores.

    The best readout was picked by the same labels, and of many readouts some one suits any labels. So under each
    shuffle, the same for all readouts, the best is picked anew by the decisive score, and its scores are the chance
    that others are compared with.

    Args:
        found: the readouts, the best first.
        features: float32 [N, L, P, D].
        labels: int [N].
        poolings: P names.
        seed: of the shuffles.

    Cost: the decisive score of every readout and all scores of one, a shuffle.
    """
    key, best = decisive(labels), found[0]
    every = [features[:, readout.layer, poolings.index(readout.pooling)] for readout in found]
    judges = [_judge(key, x) for x in every]
    chance: dict[str, list[float]] = {name: [] for name in (*best.scores, *SLOW)}
    for shuffled in shuffles(labels, len(found), seed):
        picked = every[int(np.argmax([judge(shuffled) for judge in judges]))]
        for name, values in chance.items():
            dear = name in SLOW and clusters(labels) > MOST_CLUSTERS
            values.append(float("nan") if dear else SCORES[name](picked, shuffled))
    slow = {name: SCORES[name](every[0], labels) for name in SLOW}
    whole = [dataclasses.replace(best, scores={**best.scores, **slow}), *found[1:]]
    return [
        dataclasses.replace(r, z={name: above(value, chance[name]) for name, value in r.scores.items()}) for r in whole
    ]


def _judge(key: str, features: np.ndarray) -> Callable[[np.ndarray], float]:
    """A score of some features as a function of labels; which rows are near to each other does not depend on these."""
    if key == "knn":
        near = nearest(features)
        return lambda labels: voted(near, labels)
    return lambda labels: SCORES[key](features, labels)


def shuffles(labels: np.ndarray, readouts: int, seed: int) -> list[np.ndarray]:
    """The labels in other orders, `PERMUTATIONS` times, or fewer where each takes long."""
    each = readouts * len(labels) * len(np.unique(labels))
    generator = np.random.default_rng(seed)
    return [generator.permutation(labels) for _ in range(min(max(WORK // each, FEWEST), PERMUTATIONS))]


def above(value: float, chance: Sequence[float]) -> float:
    """How many standard deviations a score lies above those of chance; nan where these, or it, say nothing."""
    if not np.isfinite([value, *chance]).all():
        return float("nan")
    spread = float(np.std(chance))
    return (value - float(np.mean(chance))) / spread if spread > 0 else float("nan")


@dataclasses.dataclass(frozen=True)
class SourceScore:
    """What a source promises at one readout.

    Args:
        name: of the source.
        transfer: accuracy on the target's rows of a head that was fitted on the source alone; nan where its labels are
            its own.
        leep: of that head's answers on the target's rows.
        proxy_a, discrepancy: how far it is; these only warn.
        z: the first two in standard deviations above those of shuffled labels of the target.
    """

    name: str
    transfer: float
    leep: float
    proxy_a: float
    discrepancy: float
    z: dict[str, float] = dataclasses.field(default_factory=dict)


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
        seed: of the folds and the shuffles.
    """
    classes = int(max(source[1].max(), target[1].max() if same_labels else 0)) + 1
    head = fit_head(source[0], source[1], classes, c=0.01)
    answers = log_softmax(head.logits(target[0]))

    def scores(labels: np.ndarray) -> tuple[float, float]:
        right = float((answers.argmax(1) == labels).mean()) if same_labels else float("nan")
        return right, leep(np.exp(answers), labels)

    found = scores(target[1])
    chance = [scores(shuffled) for shuffled in shuffles(target[1], 1, seed)]
    z = {n: above(found[i], [one[i] for one in chance]) for i, n in enumerate(("transfer", "leep"))}
    distances = proxy_a(source[0], target[0], seed=seed), mean_discrepancy(source[0], target[0])
    return SourceScore(name, *found, *distances, z)
