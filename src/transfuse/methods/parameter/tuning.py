"""What fine-tuning and adapters share: the readout, linear probing first, source before target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, Schedule, Stage, TransferData, Train
from transfuse.errors import RecipeError
from transfuse.methods.feature.probe import joined, templates
from transfuse.methods.rows import label_names, source_rows, target_rows
from transfuse.tasks.classify import Classify

READOUT_ROWS = 512
"""Source rows that are enough to tell a good layer from a bad one."""


SCALE_ROWS = 512
"""Source rows by which the features of trained layers are standardised."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The settings of a tuned method, all decided.

    Args:
        layers: how many layers below the readout train; 0 means all.
        embeddings: whether the embeddings train too.
        adapter: settings of the adapters, or None to train the layers themselves.
        layer, pooling, template: the readout; None chooses.
        c: penalty of the head that training starts from.
        cosine: a head on features of unit length.
        label_words: add the labels' words as rows.
        schedule: for the target's rows without a source, or together with it.
        source_schedule: for the source stage.
        target_schedule: for the target stage after a source stage; None fits only a head there.
        target_c: penalty of that head.
        sources: ``first`` or ``together``.
        source_limit: most rows of each source.
        target_share: weight of all target rows as a share of all source rows', where they train together.
    """

    layers: int
    embeddings: bool
    adapter: Mapping[str, Any] | None
    layer: int | None
    pooling: str | None
    template: str
    c: float
    cosine: bool
    label_words: bool
    schedule: Schedule
    source_schedule: Schedule
    target_schedule: Schedule | None
    target_c: float
    sources: str
    source_limit: int
    target_share: float


def plan(task: Classify, backbone: Backbone, data: TransferData, seed: int, tuning: Tuning) -> Job:
    """The stages: choose the readout, fit a head on it, train; with a source either first on it or together with it.

    With ``sources: first`` everything up to the end of the source stage needs no target label and is shared.
    """
    names = label_names(task) if tuning.label_words and not backbone.decoder else None
    source = source_rows(task, data.sources, tuning.source_limit)
    target = target_rows(task, data.target)
    if source is None:
        rows = target if names is None else Rows.join(target, names)
        return Job((*_start(task, backbone, target, rows, tuning), _train(rows, tuning, tuning.schedule)), 0, seed)
    if tuning.sources == "together":
        rows = joined(task, data, tuning.source_limit, tuning.target_share)
        return Job((*_start(task, backbone, rows, rows, tuning), _train(rows, tuning, tuning.schedule)), 0, seed)
    if tuning.sources != "first":
        raise RecipeError(
            f"sources: '{tuning.sources}'", expected="first or together", remedy="Correct the setting of the method."
        )
    evidence = source_rows(task, data.sources, READOUT_ROWS)
    scale = source_rows(task, data.sources, SCALE_ROWS)
    assert evidence is not None and scale is not None
    shared = [*_start(task, backbone, evidence, source, tuning), _train(source, tuning, tuning.source_schedule)]
    if tuning.target_schedule is not None:
        return Job((*shared, _train(target, tuning, tuning.target_schedule)), len(shared), seed)
    shared.append(FitHead(scale, (tuning.target_c,), tuning.cosine))
    return Job((*shared, FitHead(target, (tuning.target_c,), tuning.cosine, keep_scale=True)), len(shared), seed)


def _start(task: Classify, backbone: Backbone, evidence: Rows, rows: Rows, tuning: Tuning) -> tuple[Stage, ...]:
    layers = (backbone.layers,) if tuning.layer is None and not backbone.decoder else ()
    if tuning.layer is not None:
        layers = (tuning.layer,)
    pooling = tuning.pooling or backbone.poolings[0]
    readout = ChooseReadout(evidence, layers, (pooling,), templates(task, backbone, tuning.template))
    return readout, FitHead(rows, (tuning.c,), tuning.cosine)


def _train(rows: Rows, tuning: Tuning, schedule: Schedule) -> Train:
    return Train(rows, tuning.layers, tuning.embeddings, tuning.adapter, schedule)


def count(train_layers: int | str, backbone: Backbone) -> int:
    """The setting ``train_layers`` as a number: ``all`` is 0, which stands for all.

    Raises:
        RecipeError: neither a positive number nor ``all``.
    """
    if train_layers == "all":
        return 0
    if not isinstance(train_layers, int) or isinstance(train_layers, bool) or not 0 < train_layers <= backbone.layers:
        raise RecipeError(
            f"train_layers: {train_layers!r}",
            expected=f"all, or a number from 1 to {backbone.layers}, the layers of {backbone.reference}",
            remedy="Correct the setting of the method.",
        )
    return train_layers


def two_stages(
    schedule: Schedule, source_epochs: int, target_epochs: int, target_learning_rate: float | None
) -> dict[str, Schedule | None]:
    """The schedules of a source stage and of the gentler target stage after it, which is None without epochs."""
    gentle = schedule.learning_rate / 3 if target_learning_rate is None else target_learning_rate
    after = dataclasses.replace(
        schedule,
        epochs=target_epochs,
        learning_rate=gentle,
        head_learning_rate=schedule.head_learning_rate * gentle / schedule.learning_rate,
    )
    return {
        "source_schedule": dataclasses.replace(schedule, epochs=source_epochs),
        "target_schedule": after if target_epochs else None,
    }
