"""Which layer, pooling and template a branch reads: the readout with the least leave-one-out error."""

from __future__ import annotations

import numpy as np

from transfuse.engine.branch import Branch
from transfuse.engine.jobs import ChooseReadout
from transfuse.engine.logistic import ridge_loo
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.trunk import Trunk


def choose(stage: ChooseReadout, branch: Branch, trunk: Trunk, classes: int) -> None:
    """Fill in a branch's readout; the earlier of equals wins.

    Args:
        stage: the options, and the rows to choose by.
        branch: whose ``template``, ``pooling`` and ``layer`` are set.
        trunk: reads the rows at all layers, once.
        classes: number of classes where the rows do not name their own.
    """
    backbone = trunk.backbone
    layers = stage.layers or tuple(range(1, backbone.layers + 1))
    poolings = stage.poolings or backbone.poolings
    rows = stage.rows
    options = [(t, p, layer) for t in stage.templates for p in poolings for layer in layers]
    if len(options) == 1:
        (branch.template, branch.pooling, branch.layer) = options[0]
        return
    judged = rows.target if rows.target.any() else np.ones(len(rows), dtype=bool)
    errors: list[float] = []
    for template in stage.templates:
        features = trunk.features(rows.texts, template)
        for pooling in poolings:
            x = features[:, :, backbone.poolings.index(pooling)]
            with one_blas_thread():
                found = [ridge_loo(x[:, n], rows.labels, rows.classes or classes, rows.weights, judged) for n in layers]
            errors += found if stage.layers else list(_smoothed(np.array(found)))
    branch.template, branch.pooling, branch.layer = options[int(np.argmin(errors))]


def _smoothed(errors: np.ndarray) -> np.ndarray:
    """Each layer's error averaged with its neighbours', itself twice: layers change slowly, noise does not."""
    padded = np.pad(errors, 1, mode="edge")
    smooth: np.ndarray = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return smooth
