"""Matching texts with the words of their labels, learnt on other labels: names a class without an example of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, Evidence, Job, Rows, Schedule, SolveHead, Stage, Train, TransferData
from transfuse.fitted.head import Head
from transfuse.methods.feature.centroid import centroid_head
from transfuse.methods.feature.probe import check_readout, templates
from transfuse.methods.parameter import tuning
from transfuse.methods.rows import label_names
from transfuse.tasks.classify import Classify

STEPS = 120
"""Least steps on few rows."""


class Matching:
    """Trains texts and label words towards each other on the sources' labels, whatever these are.

    Choose it where sources have other labels than the target, and where labels of the target have few examples or none.
    Without a source it is `centroid`.
    """

    family, reads, uses_sources, counterpart = "relation", "any", True, "centroid"
    uses_related = True

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        train_layers: int | str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float = 2e-4,
        layer_decay: float = 0.8,
        epochs: int = 1,
        batch_size: int = 32,
        source_limit: int = 4096,
    ) -> Job:
        """Train on the sources' names, then take the target's names and rows as prototypes.

        Args:
            train_layers: how many layers below the readout train, or ``all``; by default two thirds.
            layer: the layer that is read; by default the last.
            pooling, template: as in `Finetune`.
            learning_rate: of the uppermost layer, at its peak.
            layer_decay: learning rate of a layer as a share of that of the layer above.
            epochs: passes over the sources' rows, more where they are few.
            batch_size: rows a step.
            source_limit: most rows of each source.
        """
        assert backbone is not None
        read = backbone.layers if layer is None else layer
        pooled = pooling or backbone.poolings[0]
        check_readout(backbone, (read,), (pooled,))
        target = Rows(
            data.target.texts,
            task.encode(data.target.labels or ()),
            np.ones(len(data.target)) if data.target.weights is None else np.asarray(data.target.weights, dtype=float),
            np.ones(len(data.target), dtype=bool),
        )
        names = label_names(task)
        words = None if names is None else names.texts
        shown = templates(task, backbone, template)
        stages: list[Stage] = [ChooseReadout(target, (read,), (pooled,), shown[:1])]
        found = named_rows(task, data, source_limit)
        if found is not None and words is not None:
            rows, source_words = found
            schedule = Schedule(
                learning_rate=learning_rate,
                head_learning_rate=0.0,
                layer_decay=layer_decay,
                epochs=tuning.enough(epochs, STEPS, len(rows), batch_size),
                batch_size=batch_size,
                warmup=0.1,
                weight_decay=0.01,
                anchor=0.0,
                contrastive=0.0,
                average_from=0.3,
            )
            layers = tuning.count(train_layers, backbone, 2 / 3)
            stages.append(Train(rows, layers, False, None, schedule, source_words))
        stages.append(SolveHead(target, None, (), words, None, _prototypes))
        return Job(tuple(stages), len(stages) - 1 if len(stages) > 2 else 0, seed)


def _prototypes(found: Evidence) -> tuple[Head, None]:
    names = found.names if len(found.names) else None
    kept = found.target.weights > 0
    return centroid_head(found.target.x[kept], found.target.labels[kept], found.classes, names), None


def named_rows(task: Classify, data: TransferData, most: int) -> tuple[Rows, tuple[str, ...]] | None:
    """The rows of all sources over the union of their labels' words, and those words; None where there is no row.

    Labels with the same words are one class.
    """
    texts: list[str] = []
    labels: list[str] = []
    weights: list[float] = []
    for examples in (*data.sources.values(), *data.related.values()):
        own = examples.take(range(min(most, len(examples))))
        counted = np.ones(len(own)) if own.weights is None else np.asarray(own.weights, dtype=float)
        for text, label, weight in zip(own.texts, own.labels or (), counted, strict=True):
            if weight > 0:
                texts.append(text)
                labels.append(word(task, label))
                weights.append(float(weight))
    if not texts:
        return None
    words = sorted(set(labels))
    if len(words) < 2:
        return None
    numbers = np.array([words.index(label) for label in labels], dtype=np.int64)
    none = np.zeros(len(texts), dtype=bool)
    return Rows(tuple(texts), numbers, np.array(weights), none, len(words)), tuple(words)


def word(task: Classify, label: str) -> str:
    """The word of a label of the task or of any other."""
    if label in task.labels:
        return task.word(label)
    return dataclasses.replace(task, labels=(label,), words={}).word(label)
