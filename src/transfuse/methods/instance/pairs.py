"""Choosing among a source's pairs, for tasks that write: those whose requests are most like the target's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.instance.dsir import closeness
from transfuse.methods.parameter.answers import AnswerLora
from transfuse.methods.rows import counting
from transfuse.tasks.writing import Writing


class AnswerSelection:
    """`AnswerLora` after those pairs of the sources whose requests are most like the target's (Xie et al. 2023, DSIR).

    Choose it where a source is large and only a part of it is near the target. Costs a pass over words; the training is
    shorter. Without a source it is `AnswerLora`.
    """

    family, reads, uses_sources, counterpart = "instance", "decoder", True, "prompt"
    uses_related, weighs, alone = False, True, "lora"

    @borrowing(
        AnswerLora.plan,
        "rank alpha dropout train_layers template learning_rate epochs batch_size warmup average_from patience sources "
        "source_limit source_epochs target_learning_rate beams max_new_tokens",
    )
    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        keep: float = 0.5,
        **lora: Any,
    ) -> Job:
        """Choose, then train.

        Args:
            keep: share of each source's pairs that is learnt from.
            lora: as in `AnswerLora`.
        """
        if not 0 < keep <= 1:
            raise RecipeError(f"dsir.keep: {keep}", expected="above 0, at most 1", remedy="0.5 is a good start.")
        near = [data.target.texts[i] for i in counting(data.target)]
        chosen = {name: _nearest(rows, near, keep) for name, rows in data.sources.items()}
        return AnswerLora().plan(task, backbone, dataclasses.replace(data, sources=chosen), seed, **lora)


def _nearest(source: Examples, target: Sequence[str], keep: float) -> Examples:
    """The share of a source's rows of a weight above 0 that is most like the target's texts, in their order."""
    counted = counting(source)
    if not len(counted):
        return source
    near = closeness([source.texts[i] for i in counted], target)
    first = np.argsort(-near, kind="stable")[: max(round(keep * len(counted)), 1)]
    return source.take(np.sort(counted[first]))
