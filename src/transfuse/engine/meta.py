"""Learning to learn: many small tasks one after another, each from where they meet (Reptile)."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import States
from transfuse.engine.branch import go_back, weights
from transfuse.engine.jobs import Rows
from transfuse.engine.logistic import fit_head
from transfuse.engine.terms import Episodes
from transfuse.engine.threads import one_blas_thread
from transfuse.engine.training import Pupil, Tick, train

START_C = 0.1
"""Inverse strength of the penalty of the head that each task begins from, as the target's will."""


def reptile(
    backbone: Backbone, pupil: Pupil, term: Episodes, step: float, precision: str, tick: Tick = lambda _: None
) -> None:
    """Move the layers to where small tasks are a few steps away, in place.

    φ ← φ + ε (U_k(φ) - φ): U_k trains on the examples of some classes, from a head that is fitted first.

    Args:
        backbone: of the layers.
        pupil: the layers, and the rows that tasks are drawn from.
        term: how many tasks, of how many classes and examples; queries are examples, too.
        step: ε of the first task; it falls to 0.
        precision: of the passes.
        tick: told of the share of the tasks that is done.

    Cost: tasks · ways · (shots + queries) · epochs rows forward and backward.

    Reference: Nichol, Achiam and Schulman 2018, algorithm 1.
    """
    generator = np.random.default_rng(pupil.seed)
    labels = pupil.rows.labels
    own = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for number in range(term.steps):
        classes = generator.choice(len(own), min(term.ways, len(own)), replace=False)
        chosen = [generator.permutation(own[k])[: term.shots + term.queries] for k in classes]
        task = _task(pupil, chosen, number)
        features = backbone.pooled(pupil.segment, task.states, pupil.pooling, precision)
        with one_blas_thread():
            head = fit_head(features, task.rows.labels, len(classes), c=START_C)
        before = weights(pupil.segment)
        train(backbone, [dataclasses.replace(task, head=head)], precision=precision)
        go_back(pupil.segment, before, 1 - step * (1 - number / term.steps))
        tick((number + 1) / term.steps)


def _task(pupil: Pupil, chosen: list[np.ndarray], number: int) -> Pupil:
    """Some rows of some classes, which are numbered from 0."""
    rows = np.concatenate(chosen)
    labels = np.repeat(np.arange(len(chosen)), [len(own) for own in chosen])
    texts = tuple(pupil.rows.texts[i] for i in rows)
    small = Rows(texts, labels, pupil.rows.weights[rows], pupil.rows.target[rows], len(chosen))
    states = States(pupil.states.parts, pupil.states.where[rows])
    return dataclasses.replace(pupil, states=states, rows=small, seed=pupil.seed + number)
