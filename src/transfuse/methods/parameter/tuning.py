"""What fine-tuning and adapters share: the readout, linear probing first, source before target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, Schedule, Stage, Train, TransferData
from transfuse.engine.terms import Term
from transfuse.errors import RecipeError
from transfuse.methods.bounds import refuse
from transfuse.methods.feature.probe import EVIDENCE, check_readout, joined, templates
from transfuse.methods.rows import evidence, label_names, source_rows, target_rows
from transfuse.tasks.classify import Classify

SOURCE_C = 0.003
"""Penalty of the source's head that the target corrects: a head less sure of the source moves more easily."""

CHARACTERS, ROWS = 800_000, (1024, 8192)
"""Of each source that an encoder learns from first: characters in all, and the least and the most rows."""

C_TIMES_ROWS, MOST_C = 3.0, 0.1
"""Of the head that training starts from: the more rows, the stronger the penalty of a row."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The settings of a tuned method, all decided.

    Args:
        layers: how many layers below the readout train; 0 means all.
        embeddings: whether the embeddings train too.
        adapter: settings of the adapters, or None to train the layers themselves.
        layer, pooling, template: the readout; None chooses.
        c: inverse strength of the penalty of the head that training starts from; None for `C_TIMES_ROWS` over the rows
            a class, at most `MOST_C`.
        cosine: a head on features of unit length.
        label_words: add the labels' words as rows.
        schedule: for the target's rows without a source, or together with it.
        source_epochs: of the source stage, which has the same schedule otherwise.
        target_epochs: of the target stage after it; 0 only corrects the source's head.
        target_learning_rate: of that stage; None for a third of the schedule's.
        target_c: inverse strength of the pull towards the source's head.
        sources: ``first`` or ``together``.
        source_limit: most rows of each source.
        target_share: weight of all target rows as a share of all source rows', where they train together.
        blend: how far a stage goes from the weights that it began with.
    """

    layers: int
    embeddings: bool
    adapter: Mapping[str, Any] | None
    layer: int | None
    pooling: str | None
    template: str
    c: float | None
    cosine: bool
    label_words: bool
    schedule: Schedule
    source_epochs: int
    target_epochs: int
    target_learning_rate: float | None
    target_c: float
    sources: str
    source_limit: int
    target_share: float
    blend: float = 1.0


def plan(task: Classify, backbone: Backbone, data: TransferData, seed: int, tuning: Tuning) -> Job:
    """The stages: choose the readout, fit a head on it, train; with a source either first on it or together with it.

    With ``sources: first`` everything up to the end of the source stage needs no target label and is shared.
    """
    refuse(target_share=tuning.target_share, blend=tuning.blend)
    _refuse_contradictions(tuning)
    names = label_names(task) if tuning.label_words and not backbone.decoder else None
    source = source_rows(task, data.sources, tuning.source_limit)
    target = target_rows(task, data.target)
    if source is None:
        rows = target if names is None else Rows.join(target, names)
        return Job((*_start(task, backbone, target, rows, tuning), _train(rows, tuning, tuning.schedule)), 0, seed)
    if tuning.sources == "together":
        rows = joined(task, data, tuning.source_limit, tuning.target_share)
        return Job((*_start(task, backbone, rows, rows, tuning), _train(rows, tuning, tuning.schedule)), 0, seed)
    some = source_rows(task, data.sources, EVIDENCE)
    assert some is not None
    on_source = dataclasses.replace(tuning.schedule, epochs=tuning.source_epochs)
    shared = [*_start(task, backbone, some, some, tuning), _train(source, tuning, on_source)]
    if tuning.target_epochs:
        return Job((*shared, _train(target, tuning, _gentler(tuning))), len(shared), seed)
    shared.append(FitHead(some, (SOURCE_C,), tuning.cosine))
    return Job((*shared, FitHead(target, (tuning.target_c,), tuning.cosine, correct=True)), len(shared), seed)


def with_term(job: Job, term: Term) -> Job:
    """The same job, whose last stage of training has a term beside its loss."""
    at = max(i for i, stage in enumerate(job.stages) if isinstance(stage, Train))
    stages = list(job.stages)
    stages[at] = dataclasses.replace(job.stages[at], term=term)  # type: ignore[arg-type]
    return dataclasses.replace(job, stages=tuple(stages))


def _refuse_contradictions(tuning: Tuning) -> None:
    if tuning.sources not in ("first", "together"):
        raise RecipeError(
            f"sources: '{tuning.sources}'", expected="first or together", remedy="Correct the setting of the method."
        )
    if tuning.embeddings and tuning.layers:
        raise RecipeError(
            f"train_embeddings: true with train_layers: {tuning.layers}",
            expected="train_layers: all, since what is below a trained layer must train too or be frozen whole",
            remedy="Set train_layers: all, or leave train_embeddings out.",
        )


def _start(task: Classify, backbone: Backbone, judged: Rows, rows: Rows, tuning: Tuning) -> tuple[Stage, ...]:
    layers = (backbone.layers,) if tuning.layer is None and not backbone.decoder else ()
    if tuning.layer is not None:
        layers = (tuning.layer,)
    pooling = tuning.pooling or backbone.poolings[0]
    check_readout(backbone, layers, (pooling,))
    readout = ChooseReadout(evidence(judged), layers, (pooling,), templates(task, backbone, tuning.template))
    a_class = len(rows) / (rows.classes or len(task.labels))
    c = min(C_TIMES_ROWS / a_class, MOST_C) if tuning.c is None else tuning.c
    return readout, FitHead(rows, (c,), tuning.cosine)


def _train(rows: Rows, tuning: Tuning, schedule: Schedule) -> Train:
    return Train(rows, tuning.layers, tuning.embeddings, tuning.adapter, schedule, blend=tuning.blend)


def enough(epochs: int, steps: int, rows: int, batch_size: int) -> int:
    """Epochs that make at least ``steps`` steps: a pass over few rows has few of them (Zhang et al. 2021).

    Raises:
        RecipeError: a batch without rows.
    """
    if batch_size < 1:
        raise RecipeError(f"batch_size: {batch_size}", expected="1 or more", remedy="Correct the setting.")
    return max(epochs, -(-steps // max(-(-rows // batch_size), 1)))


def rows_of_sources(backbone: Backbone, data: TransferData) -> int:
    """Most rows of each source that a stage on it reads: as many as a budget of minutes has room for.

    An encoder takes as many as `CHARACTERS` hold, within `ROWS`; a decoder, whose steps are dear, the least of these
    twice over. Four times the rows of movie sentences were worth two points to 64 labelled reviews (docs/log.md).
    """
    if backbone.decoder:
        return 2 * ROWS[0]
    texts = [text for source in data.sources.values() for text in source.texts]
    mean = sum(map(len, texts)) / max(len(texts), 1)
    return int(min(max(CHARACTERS / max(mean, 1.0), ROWS[0]), ROWS[1]))


def count(train_layers: int | str | None, backbone: Backbone, share: float) -> int:
    """The setting ``train_layers`` as a number: ``all`` is 0, which stands for all; None is a share of the layers.

    Raises:
        RecipeError: neither a positive number nor ``all``.
    """
    if train_layers is None:
        return max(round(share * backbone.layers), 1)
    if train_layers == "all":
        return 0
    if not isinstance(train_layers, int) or isinstance(train_layers, bool) or not 0 < train_layers <= backbone.layers:
        raise RecipeError(
            f"train_layers: {train_layers!r}",
            expected=f"all, or a number from 1 to {backbone.layers}, the layers of {backbone.reference}",
            remedy="Correct the setting of the method.",
        )
    return train_layers


def _gentler(tuning: Tuning) -> Schedule:
    """The schedule of a target stage that follows a source stage: all rates fall alike."""
    before = tuning.schedule.learning_rate
    after = before / 3 if tuning.target_learning_rate is None else tuning.target_learning_rate
    return dataclasses.replace(
        tuning.schedule,
        epochs=tuning.target_epochs,
        learning_rate=after,
        head_learning_rate=tuning.schedule.head_learning_rate * (after / before if before else 1.0),
    )
