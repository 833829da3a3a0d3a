"""The majority class: what a model that reads nothing reaches."""

from __future__ import annotations

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Rows, Solve, TransferData
from transfuse.fitted.text import Majority as MajorityPath
from transfuse.methods.rows import target_rows
from transfuse.tasks.classify import Classify


def log_priors(labels: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """log p(y) from counts with one pseudo-row spread over the classes, float64 [C]."""
    counts = np.bincount(labels, weights=weights, minlength=classes) + 1.0 / classes
    priors: np.ndarray = np.log(counts / counts.sum())
    return priors


def solve(rows: Rows, classes: int) -> MajorityPath:
    """The path that always answers with the training labels' shares."""
    return MajorityPath(log_priors(rows.labels, classes, rows.weights))


class Majority:
    """Answers with the most frequent class; choose it never, compare with it always."""

    family, reads, uses_sources, counterpart = "baseline", "nothing", False, None
    uses_related, weighs, alone = False, True, None

    def plan(self, task: Classify, backbone: Backbone | None, data: TransferData, seed: int) -> Job:
        """One closed form; no settings."""
        return Job((Solve(target_rows(task, data.target), solve),), 0, seed)
