"""Matching texts with the words of their labels, learnt on other labels: names a class without an example of it."""

from __future__ import annotations

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, Job, Schedule, SolveHead, Stage, Train, TransferData
from transfuse.engine.terms import Names
from transfuse.methods.bounds import refuse
from transfuse.methods.feature.filling import filling_texts
from transfuse.methods.feature.probe import check_readout, templates
from transfuse.methods.parameter import tuning
from transfuse.methods.relation.analogy import analogy
from transfuse.methods.relation.named import named_rows
from transfuse.methods.rows import counted_rows, evidence, label_names
from transfuse.tasks.classify import Classify

STEPS = 120
"""Least steps on few rows."""
SEEN = 1024
"""Source rows by which the trained layers show what a label's words lead to; each fold reads them."""


class Matching:
    """Trains texts and label words towards each other on the sources' labels, whatever these are.

    Choose it where sources have other labels than the target, and where labels of the target have few examples or none.
    Without a source it is `centroid`.
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
        train_layers: int | str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float = 2e-4,
        layer_decay: float = 0.8,
        epochs: int = 1,
        batch_size: int = 32,
        blend: float = 0.5,
        source_limit: int = 4096,
    ) -> Job:
        """Train on the sources' names; prototypes are the target's rows and what its names lead to (`analogy`).

        Args:
            train_layers: how many layers below the readout train, or ``all``; by default two thirds.
            layer: the layer that is read; by default the last.
            pooling, template: as in `Finetune`.
            learning_rate: of the uppermost layer, at its peak.
            layer_decay: learning rate of a layer as a share of that of the layer above.
            epochs: passes over the sources' rows, more where they are few.
            batch_size: rows a step.
            blend: how far the layers go from the pretrained ones (0) to the trained ones (1), as in `Finetune`.
            source_limit: most rows of each source.
        """
        assert backbone is not None
        refuse(blend=blend)
        read = backbone.layers if layer is None else layer
        pooled = pooling or backbone.poolings[0]
        check_readout(backbone, (read,), (pooled,))
        target = counted_rows(task, data.target, target=True)
        names = label_names(task)
        words = None if names is None else names.texts
        shown = templates(task, backbone, template)
        found = named_rows(task, data, source_limit)
        judged = (
            target if found is None else found[0]
        )  # one option, so it is not read, but it is part of what is shared
        stages: list[Stage] = [ChooseReadout(judged, (read,), (pooled,), shown[:1])]
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
            stages.append(Train(rows, layers, False, None, schedule, Names(source_words), blend))
        seen, seen_words = (None, None) if found is None else (evidence(found[0], SEEN), found[1])
        near = filling_texts(target, len(task.labels), data)
        stages.append(SolveHead(target, seen, near, words, seen_words, analogy))
        return Job(tuple(stages), len(stages) - 1 if len(stages) > 2 else 0, seed)
