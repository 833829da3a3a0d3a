"""Fine-tuning: the upper layers of a backbone train on, the lower ones are frozen and cached."""

from __future__ import annotations

from typing import NamedTuple

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, Schedule, TransferData
from transfuse.methods.parameter import tuning
from transfuse.methods.rows import target_rows
from transfuse.tasks.classify import Classify


class Defaults(NamedTuple):
    """What depends on the kind of backbone, where a recipe says nothing."""

    train_share: float
    learning_rate: float
    head_learning_rate: float
    layer_decay: float
    batch_size: int
    epochs: int
    steps: int
    cosine: bool
    c: float | None
    average_from: float
    target_epochs: int


ENCODER = Defaults(2 / 3, 5e-4, 1e-3, 0.8, 32, 6, 36, True, None, 0.3, 6)
"""A sentence encoder is small, compares by direction, and takes large steps."""
DECODER = Defaults(1 / 5, 1e-4, 3e-4, 0.9, 16, 3, 12, False, 0.003, 1.0, 0)
"""A decoder's upper layers take small steps; few target rows only correct the head of a source stage."""


class Finetune:
    """Trains layers below the readout and a new head, from the probe's solution on (LP-FT, Kumar et al. 2022).

    Choose it where the probe is good and not good enough. With sources the layers learn on them first, once for all
    folds, then on the target. Costs epochs x rows through the trained layers alone: what is below is cached.
    """

    family, reads, uses_sources, counterpart = "parameter", "any", True, "probe"
    uses_related, weighs, alone = False, True, None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        train_layers: int | str | None = None,
        train_embeddings: bool = False,
        layer: int | None = None,
        pooling: str | None = None,
        template: str = "auto",
        learning_rate: float | None = None,
        head_learning_rate: float | None = None,
        layer_decay: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        l2_sp: float = 0.0,
        contrastive: float = 0.0,
        dropout: bool = False,
        surgical: bool = False,
        blend: float = 1.0,
        average_from: float | None = None,
        cosine: bool | None = None,
        c: float | None = None,
        label_words: bool = True,
        sources: str = "first",
        source_limit: int | None = None,
        source_epochs: int = 1,
        target_epochs: int | None = None,
        target_learning_rate: float | None = None,
        target_c: float = 0.002,
        target_share: float = 0.25,
    ) -> Job:
        """Choose the readout, fit the head, train.

        Args:
            train_layers: how many layers below the readout train, or ``all``; by default two thirds of an encoder's
                and a fifth of a decoder's.
            train_embeddings: train the embeddings too; needs ``train_layers: all`` and caches nothing.
            layer: the layer that is read; by default an encoder's last, and a decoder's best by leave-one-out.
            pooling: ``mean``, ``first`` or ``last``; by default mean for encoders, last for decoders.
            template: as in `Probe`.
            learning_rate: of the uppermost layer, at its peak.
            head_learning_rate: of the head.
            layer_decay: learning rate of a layer as a share of that of the layer above (Howard and Ruder 2018).
            epochs: passes over the target's rows without a source, or over all rows together; by default more for
                few rows, so that there are enough steps.
            batch_size: rows a step.
            warmup: share of the steps with a rising learning rate.
            weight_decay: AdamW's.
            l2_sp: α of L2-SP (Li et al. 2018): pull towards the weights that the stage began with.
            contrastive: weight of the supervised contrastive term (Gunel et al. 2021).
            dropout: the trained layers' own dropout, as the backbone was trained with.
            surgical: rates in proportion to each layer's relative gradient norm (Lee et al. 2023).
            blend: α of WiSE-FT (Wortsman et al. 2022): how far the weights go from those that a stage began with.
            average_from: share of the steps from which on weights are averaged; 1 for never.
            cosine: a head on features of unit length.
            c: inverse strength of the penalty of the head that training starts from; by default, on an
                encoder, three over the rows a class, at most 0.1: layers learn nothing from a head that fits all.
            label_words: add the labels' words as rows (encoders without a source).
            sources: ``first``, then the target; or ``together``, weighted.
            source_limit: most rows of each source; by default 2,048 with a decoder, more of short texts with an
                encoder (see `tuning.rows_of_sources`).
            source_epochs: passes over the source's rows.
            target_epochs: passes over the target's rows after a source stage; 0 only corrects its head on them.
            target_learning_rate: of that stage; by default a third of ``learning_rate``.
            target_c: inverse strength of the pull towards the source's head there.
            target_share: weight of all target rows as a share of the source's, where they train together.
        """
        assert backbone is not None
        default = DECODER if backbone.decoder else ENCODER
        size = default.batch_size if batch_size is None else batch_size
        rows = len(target_rows(task, data.target))
        schedule = Schedule(
            learning_rate=default.learning_rate if learning_rate is None else learning_rate,
            head_learning_rate=default.head_learning_rate if head_learning_rate is None else head_learning_rate,
            layer_decay=default.layer_decay if layer_decay is None else layer_decay,
            epochs=tuning.enough(default.epochs, default.steps, rows, size) if epochs is None else epochs,
            batch_size=size,
            warmup=warmup,
            weight_decay=weight_decay,
            anchor=l2_sp,
            contrastive=contrastive,
            dropout=dropout,
            surgical=surgical,
            average_from=default.average_from if average_from is None else average_from,
        )
        chosen = tuning.Tuning(
            layers=tuning.count(train_layers, backbone, default.train_share),
            embeddings=train_embeddings,
            adapter=None,
            layer=layer,
            pooling=pooling,
            template=template,
            c=default.c if c is None else c,
            cosine=default.cosine if cosine is None else cosine,
            label_words=label_words,
            schedule=schedule,
            target_c=target_c,
            source_limit=tuning.rows_of_sources(backbone, data) if source_limit is None else source_limit,
            target_share=target_share,
            sources=sources,
            source_epochs=source_epochs,
            target_epochs=default.target_epochs if target_epochs is None else target_epochs,
            target_learning_rate=target_learning_rate,
            blend=blend,
        )
        return tuning.plan(task, backbone, data, seed, chosen)
