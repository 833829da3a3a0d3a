"""Small tasks drawn from the sources' classes: layers that are learnt from quickly, then the target's few examples."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import (
    ChooseReadout,
    FitHead,
    Job,
    Repeat,
    Rows,
    Schedule,
    SolveHead,
    Stage,
    Train,
    TransferData,
)
from transfuse.engine.terms import Episodes
from transfuse.errors import RecipeError
from transfuse.methods.feature.filling import filling_texts
from transfuse.methods.feature.probe import check_readout, templates
from transfuse.methods.parameter import tuning
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.relation.analogy import prototypes
from transfuse.methods.relation.named import named_rows
from transfuse.methods.rows import label_names, target_rows
from transfuse.tasks.classify import Classify

HEAD_C = 0.1
"""Inverse strength of the penalty of the target's head."""
INNER = 5
"""Gradient steps of ANIL's head on the examples of a task."""
INNER_EPOCHS = 2
"""Passes of Reptile over the rows of a task."""
STEP = 1.0
"""How far Reptile goes towards where the first task ends."""


class Episodic:
    """Trains layers on small tasks out of the sources' classes, whatever their labels are, then learns the target.

    Choose it where sources have many classes and the target has few examples of each. Fails with few or uniform
    source classes. Without a source, or with fewer than two classes there, it is the probe of the target.
    """

    family, reads, uses_sources, counterpart = "meta", "any", True, "probe"
    uses_related, weighs, alone = True, True, None

    def __init__(self, how: str) -> None:
        self._how = how

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        ways: int = 10,
        shots: int = 3,
        queries: int = 3,
        tasks: int = 100,
        train_layers: int | str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float = 2e-4,
        layer_decay: float = 0.8,
        source_limit: int = 4096,
    ) -> Job:
        """Learn to learn on the sources, then learn the target's rows.

        Args:
            ways: classes of a task.
            shots: examples of each to learn from.
            queries: rows of each to be judged by.
            tasks: number of tasks.
            train_layers: how many layers below the readout train, or ``all``; by default two thirds.
            layer: the layer that is read; by default the last.
            pooling, template: as in `Finetune`.
            learning_rate: of the uppermost layer, at its peak.
            layer_decay: learning rate of a layer as a share of that of the layer above.
            source_limit: most rows of each source.
        """
        assert backbone is not None
        if min(ways, shots + 1, queries + 1, tasks + 1) < 2:
            raise RecipeError(
                f"ways: {ways}, shots: {shots}, queries: {queries}, tasks: {tasks}",
                expected="two ways or more, and 1 or more of the others",
                remedy="Correct the setting of the method.",
            )
        read = backbone.layers if layer is None else layer
        pooled = pooling or backbone.poolings[0]
        check_readout(backbone, (read,), (pooled,))
        found = named_rows(task, data, source_limit)
        rows = None if found is None else several(found[0])
        target = target_rows(task, data.target)
        readout = ChooseReadout(
            target if rows is None else rows, (read,), (pooled,), templates(task, backbone, template)[:1]
        )
        stages: list[Stage] = [readout]
        if rows is not None:
            schedule = Schedule(learning_rate, 1e-3, layer_decay, 1, 16, 0.1, 0.01, 0.0, 0.0, 0.3)
            layers = tuning.count(train_layers, backbone, 2 / 3)
            episodes = Episodes(ways, shots, queries, tasks, INNER if self._how == "anil" else 0)
            stages.append(self._learnt(Train(rows, layers, False, None, schedule, episodes)))
        shared = len(stages) if rows is not None else 0
        if self._how == "reptile":
            alone = Finetune().plan(
                task, backbone, TransferData(data.target), seed, train_layers=train_layers, layer=read, pooling=pooled
            )
            stages += alone.stages[1:]
        else:
            near = filling_texts(target, len(task.labels), data)
            stages.append(self._head(target, None if backbone.decoder else label_names(task), near))
        return Job(tuple(stages), shared, seed)

    def _learnt(self, train: Train) -> Stage:
        """What is done with the tasks."""
        if self._how != "reptile":
            return train
        inner = dataclasses.replace(train.schedule, epochs=INNER_EPOCHS, average_from=1.0)
        return Repeat(dataclasses.replace(train, schedule=inner), STEP)

    def _head(self, target: Rows, words: Rows | None, near: tuple[str, ...]) -> Stage:
        """The target's head on the layers that have learnt."""
        if self._how == "prototypical":
            return SolveHead(target, None, near, None if words is None else words.texts, None, prototypes)
        return FitHead(target if words is None else Rows.join(target, words), (HEAD_C,), normalise=True)


def several(rows: Rows) -> Rows | None:
    """The rows of classes with two rows or more; None where fewer than two classes have them."""
    counts = np.bincount(rows.labels)
    kept = np.flatnonzero(counts[rows.labels] > 1)
    if len(np.unique(rows.labels[kept])) < 2:
        return None
    labels = np.unique(rows.labels[kept], return_inverse=True)[1].astype(np.int64)
    texts = tuple(rows.texts[i] for i in kept)
    return Rows(texts, labels, rows.weights[kept], rows.target[kept], int(labels.max()) + 1)


def prototypical() -> Episodic:
    """Class means are what is learnt to be compared with (Snell et al. 2017)."""
    return Episodic("prototypical")


def anil() -> Episodic:
    """The layers learn what makes a head learn quickly (Raghu et al. 2020)."""
    return Episodic("anil")


def reptile() -> Episodic:
    """The layers move to where each task is a few steps away (Nichol et al. 2018)."""
    return Episodic("reptile")
