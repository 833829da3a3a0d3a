"""Merging for tasks that write: branches that learnt each source's answers and the target's become one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.answers import Write
from transfuse.engine.jobs import Aside, Job, Merge, Rows, Stage, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.parameter.answers import AnswerFinetune
from transfuse.tasks.writing import Writing

NO_ROWS = Rows((), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=bool))


class AnswerMerging:
    """One branch a source and one for the target, each fine-tuned from the pretrained layers, merged by a rule.

    Choose it where sources pull in different directions, or where what a source taught must not be overwritten.
    Branches of the sources are trained once for all folds. Without a source it is `AnswerFinetune`.
    """

    family, reads, uses_sources, counterpart = "merging", "decoder", True, "prompt"
    uses_related, weighs, alone = False, True, "finetune"

    def __init__(self, rule: str) -> None:
        self._rule = rule

    @borrowing(
        AnswerFinetune.plan,
        "learning_rate layer_decay train_layers template epochs batch_size warmup average_from patience source_limit "
        "source_epochs beams max_new_tokens",
    )
    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        keep: float = 0.2,
        **finetune: Any,
    ) -> Job:
        """Train the branches and merge them.

        Args:
            keep: share of each branch's changes that ``ties`` keeps; of no use to ``soup``.
            finetune: as in `AnswerFinetune`.
        """
        if not 0 < keep <= 1:
            raise RecipeError(f"keep: {keep}", expected="above 0, at most 1", remedy="Correct the setting.")

        def tuned(found: TransferData) -> Job:
            return AnswerFinetune().plan(task, backbone, found, seed, **finetune)

        alone = tuned(dataclasses.replace(data, sources={}))
        branches: list[Stage] = []
        for name, source in data.sources.items():
            first, *rest = tuned(dataclasses.replace(data, sources={name: source})).stages
            if any(isinstance(stage, Write) for stage in rest):  # a source that counts has a stage of its own
                branches += [first, Aside()]
        if not branches:
            return alone
        *learnt, ask = alone.stages
        merge = Merge(self._rule, (1.0,), NO_ROWS, keep)
        return Job((*branches, *learnt, merge, ask), len(branches), seed)


def soup() -> AnswerMerging:
    """The mean of all branches (Wortsman et al. 2022, uniform soup)."""
    return AnswerMerging("average")


def ties() -> AnswerMerging:
    """Changes trimmed, of the elected sign alone (Yadav et al. 2023)."""
    return AnswerMerging("ties")
