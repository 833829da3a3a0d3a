"""Branches that were trained on each source and on the target become one, without further training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.data.near import fold
from transfuse.engine.jobs import Aside, FitHead, Job, Merge, Stage, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.bounds import refuse
from transfuse.methods.feature.probe import joined
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.parameter.lora import Lora
from transfuse.methods.rows import counting, source_rows, target_rows
from transfuse.tasks.classify import Classify

HEAD_C = 0.003
"""Inverse strength of the penalty of the head on the merged layers."""

SCALES: dict[str, tuple[float, ...]] = {
    "average": (1.0,),
    "greedy": (1.0,),
    "task_arithmetic": (0.3, 0.5, 0.7, 1.0),
    "ties": (0.5, 1.0),
    "dare": (0.3, 0.5, 0.7, 1.0),
    "mixture": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""What each rule chooses among, by the error of target rows that the branch on trial has not learnt."""

HELD = 0.25
"""Share of the target's rows of each class by which a rule chooses."""


class Merging:
    """One branch a source and one for the target, each fine-tuned from the pretrained layers, merged by a rule.

    Choose it where sources pull in different directions, or where branches exist already. Branches of the sources are
    trained once for all folds. Without a source it is `Finetune`, or `Lora` with a rank: then branches are adapters,
    and `mixture` is a fusion of frozen adapters.

    A rule that chooses something does so on validation: a branch on trial learns three quarters of the target's rows,
    and the leave-one-out error of the others, by a ridge head, tells which scale, branches or weights are best. By rows
    that a branch has learnt it would seem better than all that could be merged with it. Then the target's branch that
    has learnt all rows is merged as was chosen: at the price of one more branch no row is lost to the result. Where a
    class has too few rows to hold one back (two or fewer texts), the rule chooses by the rows that were learnt.
    """

    family, reads, uses_sources, counterpart = "merging", "any", True, "probe"
    uses_related, weighs, alone = False, True, "finetune"

    def __init__(self, rule: str, keep: float = 1.0) -> None:
        self._rule, self._keep = rule, keep

    @borrowing(Finetune.plan, "train_layers layer pooling template learning_rate source_epochs epochs batch_size")
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        keep: float | None = None,
        rank: int | None = None,
        source_limit: int = 2048,
        target_share: float = 0.25,
        **finetune: Any,
    ) -> Job:
        """Train the branches, merge them, and fit a head on all rows.

        Args:
            keep: share of each branch's changes that ``ties`` keeps and ``dare`` does not drop; by default 0.2 and
                0.1; of no use to the other rules.
            rank: of adapters (LoRA) that the branches train in the place of layers, which stay frozen afterwards; by
                default none.
            source_limit: most rows of each source.
            target_share: what the target's rows together count for the head, as a share of what the source's do.
            finetune: as in `Finetune`, or in `Lora` with a rank.
        """
        refuse(target_share=target_share)
        kept = self._keep if keep is None else keep
        if not 0 < kept <= 1:
            raise RecipeError(f"keep: {keep}", expected="above 0, at most 1", remedy="Correct the setting.")

        def tuned(found: TransferData) -> Job:
            if rank is not None:
                return Lora().plan(task, backbone, found, seed, rank=rank, source_limit=source_limit, **finetune)
            return Finetune().plan(task, backbone, found, seed, source_limit=source_limit, **finetune)

        alone = tuned(TransferData(data.target))
        counted = {n: s for n, s in data.sources.items() if source_rows(task, {n: s}, source_limit) is not None}
        if not counted:
            return alone
        stages: list[Stage] = [tuned(dataclasses.replace(data, sources=counted)).stages[0]]
        for name, source in counted.items():
            _, head, train, *_ = tuned(dataclasses.replace(data, sources={name: source})).stages
            stages += [head, train, Aside()]
        shared = len(stages)
        rows = joined(task, dataclasses.replace(data, sources=counted), source_limit, target_share)
        merge = Merge(self._rule, SCALES[self._rule], target_rows(task, data.target), kept)
        held = held_back(data.target, seed) if self._rule == "greedy" or len(merge.scales) > 1 else None
        if held is not None:
            learnt = data.target.take(counting(data.target)[~held])
            merge = dataclasses.replace(merge, trial=tuned(TransferData(learnt)).stages[1:], held=held)
        return Job((*stages, *alone.stages[1:], merge, FitHead(rows, (HEAD_C,))), shared, seed)


def held_back(target: Examples, seed: int) -> np.ndarray | None:
    """Which of the rows of a weight above 0 judge: a quarter of each class, copies of a text and groups on one side.

    Args:
        target: labelled.
        seed: of the draw.

    Returns:
        bool [N] of the N rows that count; None where a class is too small to be both learnt and judged by.
    """
    rows = target.take(counting(target))
    keys = np.array([fold(text) for text in rows.texts] if rows.groups is None else rows.groups)
    labels, drawn, generator = np.array(rows.labels), list[str](), np.random.default_rng([seed, 3])
    first = dict(zip(keys[::-1].tolist(), labels[::-1].tolist(), strict=True))  # of copies the first one's label
    for label in np.unique(labels):
        own = sorted(key for key, of in first.items() if of == label)
        drawn += [str(key) for key in generator.permutation(own)[: round(HELD * len(own))]]
    held = np.isin(keys, drawn)
    return held if set(labels[held]) == set(labels[~held]) == set(labels) else None


def soup() -> Merging:
    """The mean of all branches (Wortsman et al. 2022, uniform soup)."""
    return Merging("average")


def greedy_soup() -> Merging:
    """The mean of the branches that do not lower the score (Wortsman et al. 2022, greedy soup)."""
    return Merging("greedy")


def task_arithmetic() -> Merging:
    """The sum of all changes, scaled (Ilharco et al. 2023)."""
    return Merging("task_arithmetic")


def ties() -> Merging:
    """Changes trimmed, of the elected sign alone (Yadav et al. 2023)."""
    return Merging("ties", 0.2)


def dare() -> Merging:
    """Changes dropped at random and rescaled (Yu et al. 2024)."""
    return Merging("dare", 0.1)


def mixture() -> Merging:
    """A weight for each branch, found without gradients (Huang et al. 2024)."""
    return Merging("mixture")
