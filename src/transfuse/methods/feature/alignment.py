"""Layers that make source and target look alike while they learn the labels: discrepancy or adversary."""

from __future__ import annotations

from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, TransferData
from transfuse.engine.terms import Align
from transfuse.methods.borrowed import borrowing
from transfuse.methods.bounds import refuse
from transfuse.methods.closed import NEAR
from transfuse.methods.parameter import tuning
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.rows import near_texts, source_rows
from transfuse.tasks.classify import Classify


class Alignment:
    """Fine-tuning on source and target together, with a term that pulls the source's features to the target's.

    Choose it where the source has the same labels in another style and unlabelled target text abounds. It cannot help
    where the shares of the labels differ: it makes them look alike all the same. Without a source, or with a weight
    of 0, it is `Finetune`.
    """

    family, reads, uses_sources, counterpart = "feature", "any", True, "probe"
    uses_related, weighs, alone = False, True, "finetune"

    def __init__(self, how: str) -> None:
        self._how = how

    @borrowing(Finetune.plan, "train_layers layer pooling template learning_rate batch_size target_share")
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        weight: float = 1.0,
        epochs: int = 2,
        source_limit: int = 2048,
        **finetune: Any,
    ) -> Job:
        """Train on all rows together, with target texts beside each batch.

        Args:
            weight: of the term.
            epochs: passes over all rows.
            source_limit: most rows of each source.
            finetune: as in `Finetune`.
        """
        refuse(weight=weight)
        sourced = source_rows(task, data.sources, source_limit) is not None
        given = {**finetune, "source_limit": source_limit, "epochs": epochs if sourced else None}
        job = Finetune().plan(task, backbone, data, seed, sources="together", **given)
        near = near_texts(data, NEAR)
        return tuning.with_term(job, Align(near, self._how, weight)) if sourced and weight else job


def mmd() -> Alignment:
    """By maximum mean discrepancy (Long et al. 2015)."""
    return Alignment("mmd")


def dann() -> Alignment:
    """By an adversary: a classifier of domains whose gradient is turned round (Ganin et al. 2016)."""
    return Alignment("adversary")
