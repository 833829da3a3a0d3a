"""Mutual distillation: students that begin alike teach each other while they learn; one of them answers."""

from __future__ import annotations

import dataclasses
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Train, TransferData
from transfuse.engine.terms import Mutual
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.closed import NEAR
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.rows import near_texts
from transfuse.tasks.classify import Classify


class MutualDistillation:
    """Fine-tunes several students at once, each on the labels and on what the others say (Zhang et al. 2018).

    Choose it where there is no teacher, labels are few and unlabelled texts abound: students that must agree on these
    learn less of what is chance in the labels. Each drops another part of what its head sees, which is all that makes
    them differ; the first one is kept, so answering costs what `Finetune`'s does. Training costs as many of these as
    there are students. With a weight of 0 and nothing dropped it is `Finetune`.
    """

    family, reads, uses_sources, counterpart = "distillation", "any", True, "probe"
    uses_related, weighs, alone = False, True, None

    @borrowing(
        Finetune.plan,
        "train_layers layer pooling template learning_rate layer_decay epochs batch_size dropout cosine sources "
        "source_limit target_epochs target_learning_rate",
    )
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        peers: int = 2,
        temperature: float = 1.0,
        weight: float = 1.0,
        drop: float = 0.1,
        **finetune: Any,
    ) -> Job:
        """Train the students side by side, on the sources first where there are some.

        Args:
            peers: students, 2 or more.
            temperature: that their logits are divided by where they compare what they say.
            weight: of what they learn from each other, beside the labels.
            drop: share of what its head sees that each drops.
            finetune: as in `Finetune`.

        Raises:
            RecipeError: a setting that means nothing.
        """
        _refuse(peers, temperature, weight, drop)
        job = Finetune().plan(task, backbone, data, seed, **finetune)
        near = near_texts(data, NEAR)
        term = Mutual(peers, temperature, weight, drop, near)
        stages = (dataclasses.replace(s, term=term) if isinstance(s, Train) else s for s in job.stages)
        return dataclasses.replace(job, stages=tuple(stages))


def _refuse(peers: int, temperature: float, weight: float, drop: float) -> None:
    for name, value, sound, expected in (
        ("peers", peers, peers > 1, "2 or more"),
        ("temperature", temperature, temperature > 0, "above 0"),
        ("weight", weight, weight >= 0, "0 or more"),
        ("drop", drop, 0 <= drop < 1, "from 0 to below 1"),
    ):
        if not sound:
            raise RecipeError(f"mutual.{name}: {value}", expected=expected, remedy="Leave it out for the default.")
