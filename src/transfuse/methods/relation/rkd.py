"""Relational distillation: how a model of the source relates the target's texts, taken over by one of the target."""

from __future__ import annotations

import dataclasses
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Train, TransferData
from transfuse.engine.terms import Relate
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.closed import NEAR
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.rows import near_texts
from transfuse.tasks.classify import Classify

HEAD_C = 0.003
"""Inverse strength of the penalty of the head that the student starts from."""


class RelationalDistillation:
    """Trains on the source, then trains the pretrained layers anew on the target, with the teacher's relations kept.

    Choose it where the source's labels help and its weights do not: nothing but distances, angles or similarities
    among target texts, labelled or not, is carried over. Without a source it is `Finetune`.
    """

    family, reads, uses_sources, counterpart = "relation", "any", True, "probe"
    uses_related, weighs, alone = False, True, "finetune"

    @borrowing(Finetune.plan, "train_layers layer pooling template learning_rate source_epochs batch_size source_limit")
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        distances: float = 1.0,
        angles: float = 2.0,
        similarities: float = 0.0,
        target_epochs: int = 6,
        **finetune: Any,
    ) -> Job:
        """Train a teacher on the source, then a student on the target and on what the teacher says of its texts.

        Args:
            distances: weight of the loss between distances in a batch.
            angles: of that between angles.
            similarities: of that between shares of similarity to the others.
            target_epochs: passes of the student over the target's rows.
            finetune: as in `Finetune`.
        """
        if min(distances, angles, similarities) < 0:
            raise RecipeError(
                "distances, angles, similarities: one is below 0", expected="0 or more", remedy="Correct the setting."
            )
        job = Finetune().plan(task, backbone, data, seed, target_epochs=target_epochs, **finetune)
        teacher, student = job.stages[-2:]
        if not (isinstance(teacher, Train) and isinstance(student, Train)):
            return job
        near = near_texts(data, NEAR)
        rates = {name: getattr(teacher.schedule, name) for name in ("learning_rate", "head_learning_rate")}
        anew = dataclasses.replace(
            student,
            schedule=dataclasses.replace(student.schedule, **rates),
            term=Relate(near, distances, angles, similarities, HEAD_C),
        )
        return dataclasses.replace(job, stages=(*job.stages[:-1], anew))
