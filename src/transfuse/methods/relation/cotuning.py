"""Co-Tuning: what each target class looks like to a head of the source's own classes."""

from __future__ import annotations

import dataclasses
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Train, TransferData
from transfuse.engine.terms import CoTune
from transfuse.methods.borrowed import borrowing
from transfuse.methods.bounds import refuse
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.relation.named import named_rows
from transfuse.methods.rows import target_rows
from transfuse.tasks.classify import Classify

SOURCE_C, TARGET_C = 0.01, 0.1
"""Inverse strengths of the penalties of the heads that the two stages start from."""


class CoTuning:
    """Trains on the sources' own labels, then on the target's with the source's head kept learning beside.

    Choose it where a source has other labels than the target, and many rows. Fails where its labels do not cover the
    target's texts. Without a source it is `Finetune`.
    """

    family, reads, uses_sources, counterpart = "relation", "any", True, "probe"
    uses_related, weighs, alone = True, True, "finetune"

    @borrowing(Finetune.plan, "train_layers layer pooling template learning_rate batch_size")
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        weight: float = 1.0,
        target_epochs: int | None = None,
        source_limit: int = 4096,
        source_epochs: int = 1,
        **finetune: Any,
    ) -> Job:
        """Train on the union of the sources' labels; then on the target with the relation between both.

        Args:
            weight: of the source head's loss.
            target_epochs: passes over the target's rows, as ``epochs`` in `Finetune`.
            source_limit: most rows of each source.
            source_epochs: passes over the sources' rows.
            finetune: as in `Finetune`; the last layer is read by default.
        """
        assert backbone is not None
        refuse(weight=weight)
        layer = finetune.pop("layer", None)
        read = backbone.layers if layer is None else layer
        target = TransferData(data.target)
        alone = Finetune().plan(task, backbone, target, seed, layer=read, epochs=target_epochs, **finetune)
        found = named_rows(task, data, source_limit)
        readout, _, last = alone.stages
        if found is None or not isinstance(last, Train) or not isinstance(readout, ChooseReadout):
            return alone
        rows, _ = found
        first = dataclasses.replace(last, rows=rows, schedule=dataclasses.replace(last.schedule, epochs=source_epochs))
        second = dataclasses.replace(last, rows=target_rows(task, data.target), term=CoTune(weight, TARGET_C))
        shared = (dataclasses.replace(readout, rows=rows), FitHead(rows, (SOURCE_C,), normalise=True), first)
        return Job((*shared, second), len(shared), seed)
