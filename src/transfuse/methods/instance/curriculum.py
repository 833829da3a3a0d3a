"""Curriculum by similarity: the source's texts that are most like the target's come first."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Rows, Stage, Train, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.closed import NEAR
from transfuse.methods.instance.dsir import closeness
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.rows import near_texts, source_rows
from transfuse.tasks.classify import Classify


class Curriculum:
    """Fine-tuning whose source stage draws from the rows nearest to the target first, and from more and more of them.

    Choose it where the source is large and mixed, and only part of it is like the target. How near a text is, its words
    and pairs of words say (see `dsir.closeness`); labels are not read. Without a source, or with ``pace: 1``, it is
    `Finetune`.

    Reference: Bengio, Louradour, Collobert and Weston 2009; pace as in Platanios et al. 2019; similarity to the target
        as the measure of ease as in Zhang et al. 2019.
    """

    family, reads, uses_sources, counterpart = "instance", "any", True, "probe"
    uses_related, weighs, alone = False, True, "finetune"

    @borrowing(Finetune.plan, "train_layers layer pooling template learning_rate batch_size source_epochs")
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        pace: float = 0.3,
        source_limit: int = 2048,
        **finetune: Any,
    ) -> Job:
        """Fine-tune on the source, the nearest rows first, then on the target.

        Args:
            pace: share of the source's rows that the first steps draw from.
            source_limit: most rows of each source.
            finetune: as in `Finetune`.
        """
        if not 0 < pace <= 1:
            raise RecipeError(f"pace: {pace}", expected="above 0, at most 1", remedy="0.3 is a good start.")
        job = Finetune().plan(task, backbone, data, seed, source_limit=source_limit, **finetune)
        if source_rows(task, data.sources, source_limit) is None:
            return job
        near = data.unlabelled.texts[:NEAR] if data.unlabelled is not None else near_texts(data, 0)
        stages = list(job.stages)
        at = next(i for i, stage in enumerate(stages) if isinstance(stage, Train))
        stages[at] = _nearest_first(stages[at], near, pace)
        shared = 0 if data.unlabelled is None else job.shared  # else each fold has an order of its own
        return dataclasses.replace(job, stages=tuple(stages), shared=shared)


def _nearest_first(stage: Stage, near: tuple[str, ...], pace: float) -> Train:
    assert isinstance(stage, Train)
    rows = stage.rows
    order = np.argsort(-closeness(rows.texts, near), kind="stable")
    texts = tuple(rows.texts[i] for i in order)
    sorted_rows = Rows(texts, rows.labels[order], rows.weights[order], rows.target[order], rows.classes)
    return dataclasses.replace(stage, rows=sorted_rows, schedule=dataclasses.replace(stage.schedule, pace=pace))
