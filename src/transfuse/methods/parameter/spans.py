"""A head that marks answers in passages, on an encoder whose upper layers train."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.data.shapes import apart
from transfuse.engine.answers import Pairs
from transfuse.engine.jobs import Job, Schedule, TransferData
from transfuse.engine.spans import Answer, Mark, held_in
from transfuse.errors import DataError, RecipeError
from transfuse.fitted.spans import Marking
from transfuse.methods.bounds import refuse
from transfuse.methods.pairs import pairs_of
from transfuse.methods.parameter.tuning import count, enough
from transfuse.tasks.writing import Writing

STEPS = 120
"""As many there are at least, where a recipe says nothing of epochs."""
MARGIN = 8
"""Tokens by which an answer may be longer than the longest known one."""


class AnswerSpans:
    """Marks where an answer begins and ends in its passage (Devlin et al. 2019, section 4.2); nothing is written.

    Choose it where answers stand word for word in their passages: a small encoder is quicker than any decoder, and
    never invents. Costs the passes through the trained layers, over windows of long passages.
    """

    family, reads, uses_sources, counterpart = "parameter", "encoder", True, None
    uses_related, weighs, alone = False, True, None

    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        train_layers: int | str | None = None,
        learning_rate: float = 1e-4,
        head_learning_rate: float = 1e-3,
        layer_decay: float = 0.9,
        epochs: int | None = None,
        batch_size: int = 16,
        warmup: float = 0.1,
        overlap: int = 64,
        longest: int | None = None,
        source_limit: int = 4096,
        source_epochs: int = 2,
    ) -> Job:
        """Train on the source's questions first, where there is one, then on the target's.

        Args:
            train_layers: how many of the uppermost layers train; by default all but the embeddings.
            learning_rate: of the uppermost layer.
            head_learning_rate: of the head.
            layer_decay: factor a layer downwards.
            epochs: passes over the target's rows; by default four, and as many as make 120 steps.
            batch_size: windows a step.
            warmup: share of the steps in which the rate rises.
            overlap: tokens that two windows of a long passage share.
            longest: most tokens of an answer; by default a few more than the longest known one has.
            source_limit: most rows of each source.
            source_epochs: passes over them.

        Raises:
            RecipeError: another kind of task, or an impossible setting.
            DataError: no passages, or no answer that stands in one.
        """
        assert backbone is not None
        if overlap < 0 or (longest is not None and longest < 1):
            raise RecipeError(f"span.overlap: {overlap}, longest: {longest}", expected="overlap from 0, longest from 1")
        target = pairs_of(data.target, target=True)
        refuse(source_limit=source_limit)
        parts = [pairs_of(e.take(range(min(source_limit, len(e)))), target=False) for e in data.sources.values()]
        sources = [part for part in parts if len(part)]
        held = _stand_in_passages(target, data.target.origin)
        marking = Marking(
            limit=task.max_tokens,
            overlap=overlap,
            longest=longest or _longest(backbone, target, held) + MARGIN,
            none=bool((~np.array([bool(answer.strip()) for answer in target.answers])).any()),
        )
        passes = enough(4, STEPS, len(target), batch_size) if epochs is None else epochs
        schedule = Schedule(
            learning_rate, head_learning_rate, layer_decay, passes, batch_size, warmup, 0.01, 0.0, 0.0, 1.0
        )
        layers = count(train_layers, backbone, 1.0)
        stages = [Mark(_known(target, held), marking, layers, schedule)]
        if sources:
            first = Pairs.join(*sources)
            told = _known(first, held_in(first.texts, first.answers))
            if len(told):
                stages.insert(0, Mark(told, marking, layers, dataclasses.replace(schedule, epochs=source_epochs)))
        return Job((*stages, Answer(marking)), len(stages) - 1, seed)


def _stand_in_passages(pairs: Pairs, origin: str) -> np.ndarray:
    """Which answers stand in their passages, bool [N].

    Raises:
        DataError: there are no passages, or none of the answers stands in its own.
    """
    if not any(apart(text)[1] for text in pairs.texts):
        raise DataError(
            f"{origin}: no passages",
            expected="questions about passages: SQuAD's JSON, or a column of passages",
            remedy="Name the column in task.context, or use a method that needs none, such as `lora`.",
        )
    held = held_in(pairs.texts, pairs.answers)
    if not held.any():
        raise DataError(
            f"{origin}: none of {len(pairs)} answers stands in its passage",
            expected="answers that are pieces of their passages",
            remedy="Use a method that writes answers, such as `lora`.",
        )
    return held


def _known(pairs: Pairs, held: np.ndarray) -> Pairs:
    """Without the rows whose answer is none of the passage's words: they would teach that there is no answer."""
    empty = np.array([not answer.strip() for answer in pairs.answers])
    return pairs.take(np.flatnonzero(held | empty))


def _longest(backbone: Backbone, pairs: Pairs, held: np.ndarray) -> int:
    rows = backbone.tokenizer([pairs.answers[i] for i in np.flatnonzero(held)], add_special_tokens=False)["input_ids"]
    return max((len(row) for row in rows), default=1)
