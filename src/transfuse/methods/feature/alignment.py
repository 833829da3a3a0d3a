"""Layers that make source and target look alike while they learn the labels: discrepancy or adversary."""

from __future__ import annotations

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, TransferData
from transfuse.engine.terms import Align
from transfuse.errors import RecipeError
from transfuse.methods.closed import NEAR
from transfuse.methods.parameter import tuning
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.rows import source_rows
from transfuse.tasks.classify import Classify


class Alignment:
    """Fine-tuning on source and target together, with a term that pulls the source's features to the target's.

    Choose it where the source has the same labels in another style and unlabelled target text abounds. It cannot help
    where the shares of the labels differ: it makes them look alike all the same. Without a source, or with a weight
    of 0, it is `Finetune`.
    """

    family, reads, uses_sources, counterpart = "feature", "any", True, "probe"
    uses_related = False

    def __init__(self, how: str) -> None:
        self._how = how

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        weight: float = 1.0,
        train_layers: int | str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float | None = None,
        epochs: int = 2,
        batch_size: int | None = None,
        source_limit: int = 2048,
        target_share: float = 0.25,
    ) -> Job:
        """Train on all rows together, with target texts beside each batch.

        Args:
            weight: of the term.
            train_layers, layer, pooling, template, learning_rate, batch_size, source_limit, target_share: as in
                `Finetune`.
            epochs: passes over all rows.
        """
        if weight < 0:
            raise RecipeError(f"weight: {weight}", expected="0 or more", remedy="1 is a good start.")
        sourced = source_rows(task, data.sources, source_limit) is not None
        job = Finetune().plan(
            task,
            backbone,
            data,
            seed,
            train_layers=train_layers,
            layer=layer,
            pooling=pooling,
            template=template,
            learning_rate=learning_rate,
            epochs=epochs if sourced else None,
            batch_size=batch_size,
            source_limit=source_limit,
            target_share=target_share,
            sources="together",
        )
        near = tuple(dict.fromkeys((*data.target.texts, *(data.unlabelled.texts[:NEAR] if data.unlabelled else ()))))
        return tuning.with_term(job, Align(near, self._how, weight)) if sourced and weight else job


def mmd() -> Alignment:
    """By maximum mean discrepancy (Long et al. 2015)."""
    return Alignment("mmd")


def dann() -> Alignment:
    """By an adversary: a classifier of domains whose gradient is turned round (Ganin et al. 2016)."""
    return Alignment("adversary")
