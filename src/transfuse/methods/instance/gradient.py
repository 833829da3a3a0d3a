"""LESS: source rows whose gradients, of a head or of adapters in layers, point where the target's do."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Evidence, Job, Stage, TransferData
from transfuse.engine.logistic import fit_head
from transfuse.engine.selecting import Select
from transfuse.errors import RecipeError
from transfuse.fitted.paths import log_softmax
from transfuse.methods.borrowed import borrowing
from transfuse.methods.closed import chosen, weighted
from transfuse.methods.parameter.lora import Lora
from transfuse.methods.rows import source_rows, target_rows, without
from transfuse.tasks.classify import Classify

WARM_EPOCHS = 4
"""Passes over the target's rows before gradients of layers are taken."""
WARM_C = 0.01
"""Penalty of the head, fitted on the target, at which gradients are taken."""


def head_gradients(features: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """The two factors of each row's gradient of the cross-entropy by a linear head: (p - y) [N, C] and x [N, D]."""
    residual = probabilities.copy()
    residual[np.arange(len(labels)), labels] -= 1.0
    return residual, features


def factored_cosine(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> np.ndarray:
    """Cosines [N, M] between gradients r ⊗ x that are given as (r, x): (r·r')(x·x') / (‖r‖‖x‖‖r'‖‖x'‖)."""
    units = [[x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in pair] for pair in (a, b)]
    found: np.ndarray = (units[0][0] @ units[1][0].T) * (units[0][1] @ units[1][1].T)
    return found


def influence(cosines: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How well each source row serves the group of target rows that it serves best; choose it to pick rows by use.

    score(z) = max over groups g of mean over z' in g of cos(∇ℓ(z), ∇ℓ(z')).

    Args:
        cosines: float [N, M] between the gradients of source and target rows.
        groups: int [M], the target rows' labels: each is a subtask.

    Returns:
        float64 [N] in -1..1; a row below 0 pulls away from every group.

    Reference: Xia, Malladi, Gururangan, Arora and Chen 2024 (LESS), equation 5 with one checkpoint. Departure: plain
        gradients, not Adam's; the groups are classes.
    """
    means = np.stack([cosines[:, groups == group].mean(1) for group in np.unique(groups)], axis=1)
    best: np.ndarray = means.max(1)
    return best


class Less:
    """Learns from the share of the source whose gradients serve the target's classes best.

    Choose it where part of the source misleads: rows with wrong labels pull away from the target's. By the gradients of
    a head (``part: head``) it is the probe on the rows that are kept, and costs next to nothing. By those of adapters
    in the upper layers (``part: layers``) it is `Lora` on the rows that are kept, then on the target; it sees more of a
    text than its pooled state, and no fold shares the source stage. Without a source it is the probe, or `Lora`.
    """

    family, reads, uses_sources, counterpart = "instance", "any", True, "probe"
    uses_related, weighs, alone = False, True, "probe"

    @borrowing(
        Lora.plan, "rank train_layers learning_rate epochs batch_size sources source_epochs target_epochs target_c"
    )
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        part: str = "head",
        keep: float = 0.5,
        layers: int | None = None,
        poolings: str | None = None,
        template: str = "auto",
        source_limit: int = 1024,
        target_share: float = 0.25,
        **lora: Any,
    ) -> Job:
        """Choose among the source's rows, and learn from what is kept.

        Args:
            part: ``head`` or ``layers``: whose gradients are compared, and what is trained.
            keep: share of the source's rows that is kept.
            layers, poolings, template: as in `Probe`, one of each.
            source_limit: most rows of each source.
            target_share: what the target's rows together count, as a share of what the source's do, where a head or
                layers learn from both together.
            lora: as in `Lora`, with ``part: layers`` alone.

        Raises:
            RecipeError: another part, a share that is none, or a setting of layers for a head.
        """
        assert backbone is not None
        _check(part, keep, lora)
        read: dict[str, Any] = {"template": template, "source_limit": source_limit, "target_share": target_share}
        if part == "head":
            weigh = functools.partial(_by_head, keep=keep)
            return weighted(weigh).plan(task, backbone, data, seed, layers=layers, poolings=poolings, **read)
        settings = {"layer": layers, "pooling": poolings} | read | lora
        alone, source = dataclasses.replace(data, sources={}), source_rows(task, data.sources, source_limit)
        if source is None:
            return Lora().plan(task, backbone, alone, seed, **settings)
        warm = Lora().plan(task, backbone, alone, seed, **settings | {"epochs": WARM_EPOCHS})
        then = functools.partial(_learn, task=task, backbone=backbone, data=data, seed=seed, settings=settings)
        target, weigh = target_rows(task, data.target), functools.partial(chosen, keep=keep)
        return Job((Select(source, target, warm.stages, weigh, then),), 0, seed)


def _check(part: str, keep: float, lora: Mapping[str, Any]) -> None:
    if part not in ("head", "layers"):
        raise RecipeError(
            f"less.part: '{part}'", expected="head or layers", remedy="Correct the setting; head costs the least."
        )
    if not 0 < keep <= 1:
        raise RecipeError(f"less.keep: {keep}", expected="above 0, at most 1", remedy="0.5 is a good start.")
    if part == "head" and lora:
        raise RecipeError(
            f"less: {', '.join(lora)} with part: head",
            expected="settings of layers with part: layers alone, since no layer trains otherwise",
            remedy="Set part: layers, or leave the setting out.",
        )


def _by_head(found: Evidence, keep: float) -> np.ndarray:
    """Weights of the source's rows by the gradients of a head that was fitted on the target."""
    ours, theirs = found.source, found.target
    head = fit_head(theirs.x, theirs.labels, found.classes, c=WARM_C, weights=theirs.weights)
    pairs = [
        head_gradients((side.x - head.mean) / head.scale, np.exp(log_softmax(head.logits(side.x))), side.labels)
        for side in (ours, theirs)
    ]
    return chosen(influence(factored_cosine(*pairs), theirs.labels), keep)


def _learn(
    weights: np.ndarray,
    task: Classify,
    backbone: Backbone,
    data: TransferData,
    seed: int,
    settings: Mapping[str, Any],
) -> tuple[Stage, ...]:
    """The stages of `Lora` on the source's rows of a weight above 0, then on the target's."""
    left = without(data.sources, settings["source_limit"], weights)
    return Lora().plan(task, backbone, dataclasses.replace(data, sources=left), seed, **settings).stages
