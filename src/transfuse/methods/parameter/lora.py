"""Adapters inside the upper layers (LoRA, DoRA, (IA)³); everything else is frozen, the layers below are cached."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Schedule, Train, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.parameter import tuning
from transfuse.methods.rows import target_rows
from transfuse.tasks.classify import Classify


class Defaults(NamedTuple):
    """What depends on the kind of backbone, where a recipe says nothing."""

    train_share: float
    learning_rate: float
    head_learning_rate: float
    batch_size: int
    epochs: int
    steps: int
    c: float
    average_from: float
    target_epochs: int


ENCODER = Defaults(2 / 3, 1e-3, 1e-3, 32, 6, 36, 0.001, 0.3, 6)
DECODER = Defaults(1 / 5, 5e-4, 3e-4, 16, 4, 16, 0.003, 1.0, 0)


class Lora:
    """W + (alpha / rank) B A on every linear map of the adapted layers (Hu et al. 2021), through peft.

    Choose it where the fitted model must be small, or where fine-tuning forgets: it learns less and forgets less
    (Biderman et al. 2024). Costs about as much as fine-tuning the same layers, with far fewer numbers to keep.
    """

    family, reads, uses_sources, counterpart = "parameter", "any", True, "probe"
    uses_related, weighs, alone = False, True, None

    def __init__(self, kind: str = "lora") -> None:
        self._kind = kind

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        rank: int = 8,
        alpha: float | None = None,
        dropout: float = 0.0,
        train_layers: int | str | None = None,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float | None = None,
        head_learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        warmup: float = 0.1,
        average_from: float | None = None,
        c: float | None = None,
        label_words: bool = True,
        sources: str = "first",
        source_limit: int = 2048,
        source_epochs: int = 1,
        target_epochs: int | None = None,
        target_learning_rate: float | None = None,
        target_c: float = 0.002,
        target_share: float = 0.25,
    ) -> Job:
        """Choose the readout, fit the head, train the adapters and the head.

        Args:
            rank: r.
            alpha: the updates are scaled by alpha / rank; by default twice the rank.
            dropout: on the adapters' input.
            train_layers: how many layers below the readout are adapted, or ``all``; by default as in `Finetune`.
            layer, pooling, template, learning_rate, head_learning_rate, epochs, batch_size, warmup, average_from, c,
            label_words, sources, source_limit, source_epochs, target_epochs, target_learning_rate, target_c,
                target_share: as in `Finetune`.
        """
        assert backbone is not None
        if rank < 1:
            raise RecipeError(f"lora.rank: {rank}", expected="1 or more", remedy="8 is a good start.")
        default = DECODER if backbone.decoder else ENCODER
        size = default.batch_size if batch_size is None else batch_size
        schedule = Schedule(
            learning_rate=default.learning_rate if learning_rate is None else learning_rate,
            head_learning_rate=default.head_learning_rate if head_learning_rate is None else head_learning_rate,
            layer_decay=1.0,
            epochs=tuning.enough(default.epochs, default.steps, len(target_rows(task, data.target)), size)
            if epochs is None
            else epochs,
            batch_size=size,
            warmup=warmup,
            weight_decay=0.0,
            anchor=0.0,
            contrastive=0.0,
            average_from=default.average_from if average_from is None else average_from,
        )
        chosen = tuning.Tuning(
            layers=tuning.count(train_layers, backbone, default.train_share),
            embeddings=False,
            adapter={
                "kind": self._kind,
                "rank": rank,
                "alpha": 2 * rank if alpha is None else alpha,
                "dropout": dropout,
            },
            layer=layer,
            pooling=pooling,
            template=template,
            c=default.c if c is None else c,
            cosine=False,
            label_words=label_words,
            schedule=schedule,
            target_c=target_c,
            source_limit=source_limit,
            target_share=target_share,
            sources=sources,
            source_epochs=source_epochs,
            target_epochs=default.target_epochs if target_epochs is None else target_epochs,
            target_learning_rate=target_learning_rate,
        )
        return tuning.plan(task, backbone, data, seed, chosen)


def dora() -> Lora:
    """LoRA on the directions of the weights' columns alone, with their lengths learnt apart (Liu et al. 2024)."""
    return Lora("dora")


class Ia3:
    """A factor for each output of each linear map of the adapted layers ((IA)³, Liu et al. 2022), through peft.

    Choose it where thousands of tasks share a backbone: it keeps fewer numbers than any other. It moves little, and
    takes large steps. Departure: every linear map has factors, not keys, values and the inner product alone.
    """

    family, reads, uses_sources, counterpart = "parameter", "any", True, "probe"
    uses_related, weighs, alone = False, True, None

    @borrowing(
        Lora.plan,
        "train_layers layer pooling template epochs batch_size sources source_limit source_epochs target_epochs",
    )
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        learning_rate: float = 1e-2,
        **lora: Any,
    ) -> Job:
        """Choose the readout, fit the head, train the factors and the head.

        Args:
            learning_rate: of the factors.
            lora: as in `Lora`.
        """
        job = Lora().plan(task, backbone, data, seed, learning_rate=learning_rate, **lora)
        adapted = [dataclasses.replace(s, adapter={"kind": "ia3"}) if isinstance(s, Train) else s for s in job.stages]
        return dataclasses.replace(job, stages=tuple(adapted))
