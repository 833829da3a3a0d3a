"""What methods share that are a closed form on cached features: the readout, the rows, the head at the end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, Evidence, Job, SolveHead, TransferData
from transfuse.engine.logistic import fit_head
from transfuse.fitted.head import Head
from transfuse.methods.bounds import refuse
from transfuse.methods.feature.filling import filling_texts
from transfuse.methods.feature.probe import EVIDENCE, Probe, check_readout, templates
from transfuse.methods.rows import evidence, label_names, source_rows, target_rows
from transfuse.tasks.classify import Classify

NEAR = 512
"""Unlabelled target texts that are enough to know where the target lies."""
C = 0.003
"""Inverse strength of a head's penalty where a source gives rows enough."""

Solution = tuple[Head, np.ndarray | None]
Weigh = Callable[[Evidence], np.ndarray]
"""Weights [N] of the source's rows, of mean 1."""
Move = Callable[[Evidence], np.ndarray]
"""The source's features [N, D] where the target's lie."""


@dataclasses.dataclass(frozen=True)
class ClosedForm:
    """A method that is a closed form on the features at the readout.

    Args:
        family: see `Method`.
        solve: ``solve(evidence, target_share) -> (head, weights of the source's rows or None)``.
        uses_sources: whether labelled sources change it.
        needs_source: whether it is the probe where there is no source.
        reads_names: whether the labels' words are read (encoders only).
        fills: whether unlabelled texts are read where a class has few rows (see `filling`), and not only for a source.
    """

    family: str
    solve: Callable[..., Solution]
    uses_sources: bool = True
    needs_source: bool = True
    reads_names: bool = False
    fills: bool = False
    reads: str = "any"
    uses_related: bool = False
    weighs: bool = True
    counterpart: str | None = "probe"

    @property
    def alone(self) -> str | None:
        """What it is where there is no source."""
        return "probe" if self.needs_source else None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        layers: int | None = None,
        poolings: str | None = None,
        template: str = "auto",
        source_limit: int = 1024,
        target_share: float = 0.25,
    ) -> Job:
        """Choose the readout, as `Probe` does, and solve.

        Args:
            layers, poolings, template: as in `Probe`, one of each.
            source_limit: most rows of each source.
            target_share: what the target's rows together count, as a share of what the source's do.
        """
        assert backbone is not None
        refuse(target_share=target_share)
        source = source_rows(task, data.sources, source_limit)
        if self.needs_source and source is None:
            return Probe().plan(task, backbone, data, seed, layers=layers, poolings=poolings, template=template)
        some_layers = () if layers is None else (layers,)
        some_poolings = () if poolings is None else (poolings,)
        check_readout(backbone, some_layers, some_poolings)
        target = target_rows(task, data.target)
        some = source_rows(task, data.sources, min(EVIDENCE, source_limit))
        words = label_names(task) if self.reads_names and not backbone.decoder else None
        near = filling_texts(target, len(task.labels), data) if self.fills else ()
        if self.needs_source and data.unlabelled is not None:
            near = data.unlabelled.texts[:NEAR]
        stage = SolveHead(
            target,
            source,
            near,
            None if words is None else words.texts,
            None,
            functools.partial(self.solve, target_share=target_share),
        )
        shown = templates(task, backbone, template)
        readout = ChooseReadout(some or evidence(target), some_layers, some_poolings, shown)
        return Job((readout, stage), 0 if some is None else 1, seed)


def weighted(weigh: Weigh) -> ClosedForm:
    """A method of the instance family: a head on source rows that count as ``weigh`` says, and on the target's."""

    def solve(found: Evidence, target_share: float) -> Solution:
        weights = weigh(found) * found.source.weights
        return joint_head(found, found.source.x, weights, target_share), weights

    return ClosedForm("instance", solve)


def moved(move: Move) -> ClosedForm:
    """A method of the feature family: a head on source rows where ``move`` puts them, and on the target's."""

    def solve(found: Evidence, target_share: float) -> Solution:
        return joint_head(found, move(found), found.source.weights, target_share), None

    return ClosedForm("feature", solve)


def joint_head(found: Evidence, source_x: np.ndarray, weights: np.ndarray, target_share: float) -> Head:
    """A logistic head on the source's rows, wherever they were moved and whatever they count, and on the target's.

    Args:
        found: the rows.
        source_x: features of the source's rows, float [N, D].
        weights: float [N] of the source's rows; where all are 0 the target's rows are alone.
        target_share: what the target's rows count together, as a share of what the source's do.
    """
    target, total = found.target, float(weights.sum())
    if not total:
        return fit_head(target.x, target.labels, found.classes, c=C, weights=target.weights)
    kept = np.flatnonzero(weights > 0)
    return fit_head(
        np.concatenate([source_x[kept].astype(np.float32), target.x]),
        np.concatenate([found.source.labels[kept], target.labels]),
        found.classes,
        c=C,
        weights=np.concatenate([weights[kept], target.weights * (target_share * total / target.weights.sum())]),
    )


def labelled(found: Evidence, target_share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and weights of all labelled rows, the source's as they are."""
    source, target = found.source, found.target
    scale = target_share * source.weights.sum() / target.weights.sum() if len(source) else 1.0
    x, labels, weights = (
        np.concatenate(pair)
        for pair in (
            (source.x, target.x),
            (source.labels, target.labels),
            (source.weights, target.weights * scale),
        )
    )
    return x, labels, weights


def chosen(scores: np.ndarray, keep: float) -> np.ndarray:
    """Weights of mean 1 that keep the ``keep`` share of rows with the highest scores, one at least."""
    count = max(round(keep * len(scores)), 1)
    weights = np.zeros(len(scores))
    weights[np.argsort(-scores, kind="stable")[:count]] = len(scores) / count
    return weights
