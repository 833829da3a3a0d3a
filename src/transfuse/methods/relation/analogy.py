"""Prototypes by analogy: what lies between a label's words and its texts in the source lies there in the target."""

from __future__ import annotations

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, Evidence, Job, SolveHead, TransferData
from transfuse.fitted.head import Head, unit
from transfuse.methods.feature.centroid import centroid_head
from transfuse.methods.feature.filling import filling_texts
from transfuse.methods.feature.probe import check_readout, templates
from transfuse.methods.relation.named import named_rows
from transfuse.methods.relation.names import moved, name_worth, offsets
from transfuse.methods.rows import counted_rows, label_names
from transfuse.tasks.classify import Classify

FOLDS = 5
"""Parts of the source's classes at most, each predicted from the others."""
PENALTIES = (3.0, 10.0, 30.0, 100.0)
"""Of the map, to choose among."""


def by_analogy(
    features: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray,
    asked: np.ndarray,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Where classes of some names are expected, and how many rows that is worth, both learnt on the source's classes.

    The map from a name to its class mean (see `offsets`) is fitted on all but a fifth of the source's classes, and
    predicts that, in turn; the penalty with the least squared error is kept, and κ is that of the predicted names (see
    `name_worth`). All in vectors of unit length.

    Args:
        features: float [N, D] of the source.
        labels: int [N], positions in ``names``.
        names: float [C_s, D], features of the source's label words.
        asked: float [C, D], those of the target's.
        weights: float [N] of the source's rows, above 0; None for equal ones.

    Returns:
        float64 [C, D] and κ.

    Cost: |penalties| · 6 systems of D equations.
    Reduces to: the names themselves, worth one row, with fewer than two classes.
    Reference: Mikolov, Yih and Zweig 2013 (analogy by offsets); ridge regression; docs/methods.md.
    """
    rows, words, targets = (unit(np.asarray(x, dtype=np.float64)) for x in (features, names, asked))
    present = np.unique(labels)
    if len(present) < 2:
        return targets, 1.0
    weights = np.ones(len(rows)) if weights is None else weights
    means = np.stack([np.average(rows[labels == c], axis=0, weights=weights[labels == c]) for c in present])
    known = words[present]
    folds = min(FOLDS, len(known))
    part = np.arange(len(known)) % folds
    errors, guesses = [], []
    for penalty in PENALTIES:
        guess = np.empty_like(known)
        for fold in range(folds):
            left, kept = part == fold, part != fold
            map_ = offsets(means[kept], known[kept], penalty=penalty)
            guess[left] = moved(known[left], known[kept].mean(0), map_)
        errors.append(float(((guess - means) ** 2).sum()))
        guesses.append(guess)
    best = int(np.argmin(errors))
    map_ = offsets(means, known, penalty=PENALTIES[best])
    worth = name_worth(rows, np.searchsorted(present, labels), guesses[best], weights)
    return moved(targets, known.mean(0), map_), worth


def analogy(found: Evidence) -> tuple[Head, None]:
    """A head of class means, in which what the source teaches about a label's words counts as some rows."""
    source = found.source
    if not len(found.names) or not len(source):
        return prototypes(found)
    expected, worth = by_analogy(source.x, source.labels, found.source_names, found.names, source.weights)
    return _head(found, expected, worth), None


def prototypes(found: Evidence) -> tuple[Head, None]:
    """A head of class means, a label's words counting as one row; labels without a row have their words alone."""
    return _head(found, found.names if len(found.names) else None, 1.0), None


def _head(found: Evidence, names: np.ndarray | None, kappa: float) -> Head:
    x, labels, weights = found.target.x, found.target.labels, found.target.weights
    unlabelled = found.unlabelled
    return centroid_head(x, labels, found.classes, names, weights=weights, kappa=kappa, unlabelled=unlabelled)


class Analogy:
    """Class means of the target, begun at where the source's classes say that a label's words lead.

    Choose it where sources of any labels have many classes, and the target has one to three examples of each, or none.
    Nothing is trained. Without a source, or with labels that are no words, it is `centroid`.
    """

    family, reads, uses_sources, counterpart = "relation", "any", True, "centroid"
    uses_related, weighs, alone = True, True, None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        source_limit: int = 4096,
    ) -> Job:
        """Read all at one readout and solve.

        Args:
            layer: the layer that is read; by default the last.
            pooling, template: as in `Finetune`.
            source_limit: most rows of each source.
        """
        assert backbone is not None
        read = backbone.layers if layer is None else layer
        pooled = pooling or backbone.poolings[0]
        check_readout(backbone, (read,), (pooled,))
        target = counted_rows(task, data.target, target=True)
        names, found = label_names(task), named_rows(task, data, source_limit)
        rows, words = (None, None) if found is None else found
        shown = templates(task, backbone, template)[:1]
        near = filling_texts(target, len(task.labels), data)
        stage = SolveHead(target, rows, near, None if names is None else names.texts, words, analogy)
        return Job((ChooseReadout(target, (read,), (pooled,), shown), stage), 0, seed)
