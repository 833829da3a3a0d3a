"""Fine-tuning and adapters for tasks that write: the upper layers learn the answers, over the cached prefix."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.answers import Ask, Pairs, Write
from transfuse.engine.jobs import Job, Schedule, Stage, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.pairs import decoding_of, form_of, pairs_of, source_parts
from transfuse.methods.parameter.tuning import count, enough
from transfuse.tasks.writing import Writing

SHARE = 1 / 2
"""Of the layers, the upper ones, that learn where a recipe says nothing."""

STEPS = 60
"""As many there are at least, where a recipe says nothing of epochs."""

HELD = 0.1
"""Of the target's rows, where training stops by some that are held back."""


def _held_back(target: Pairs, patience: int, seed: int) -> tuple[Pairs, Pairs | None]:
    """A tenth of the target's rows, by which training stops, where it is asked for and there are enough."""
    count = round(HELD * len(target))
    if not patience or not count:
        return target, None
    order = np.random.default_rng(seed).permutation(len(target))
    return target.take(np.sort(order[count:])), target.take(np.sort(order[:count]))


class AnswerLora:
    """Adapters (Hu et al. 2021) on the upper layers of a decoder, trained on the answers alone.

    Choose it where the fitted model must be small, or where the model must not forget what else it can do
    (Biderman et al. 2024). Costs the passes through the adapted layers; the layers below are read once.
    """

    family, reads, uses_sources, counterpart = "parameter", "decoder", True, "prompt"
    uses_related, weighs, alone = False, True, None

    def __init__(self, kind: str = "lora") -> None:
        self._kind = kind

    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        rank: int = 16,
        alpha: float | None = None,
        dropout: float = 0.0,
        train_layers: int | str | None = None,
        template: str | None = None,
        learning_rate: float = 1e-3,
        epochs: int | None = None,
        batch_size: int = 8,
        warmup: float = 0.1,
        average_from: float = 1.0,
        patience: int = 0,
        sources: str = "first",
        source_limit: int = 1024,
        source_epochs: int = 1,
        target_learning_rate: float | None = None,
        pack: int = 0,
        beams: int = 1,
        max_new_tokens: int | None = None,
    ) -> Job:
        """Train the adapters, on a source first where there is one.

        Args:
            rank: r.
            alpha: the updates are scaled by alpha / rank; by default twice the rank.
            dropout: on the adapters' input.
            train_layers: how many of the uppermost layers are adapted, or ``all``; by default half of them.
            template: how a request is shown; by default the task's, or the model's own chat template.
            learning_rate: of the adapters.
            epochs: passes over the target's rows; by default two, and as many as make 60 steps.
            batch_size: rows a step.
            warmup: share of the steps in which the rate rises.
            average_from: share of the steps after which weights are averaged; 1 keeps the last.
            patience: epochs without a lower loss of a tenth of the target's rows, which is held back, after which
                training stops; the best layers are kept. 0 holds nothing back.
            sources: ``first``, then the target; or ``together``.
            source_limit: most rows of each source.
            source_epochs: passes over them.
            target_learning_rate: of the target stage after a source; by default half of ``learning_rate``.
            pack: most tokens of a row in which several examples stand, each by itself; 0 gives each its own. The steps
                are those of the same examples, with the same loss.
            beams, max_new_tokens: as in `Asking`.
        """
        assert backbone is not None
        if rank < 1:
            raise RecipeError(f"lora.rank: {rank}", expected="1 or more", remedy="16 is a good start.")
        if pack < 0:
            raise RecipeError(f"pack: {pack}", expected="0 or more", remedy="512 is a good start; 0 packs nothing.")
        if sources not in ("first", "together"):
            raise RecipeError(
                f"sources: '{sources}'", expected="first or together", remedy="Correct the setting of the method."
            )
        adapter = {"kind": self._kind, "rank": rank, "alpha": 2 * rank if alpha is None else alpha, "dropout": dropout}
        target = pairs_of(data.target, target=True)
        passes = enough(2, STEPS, len(target), batch_size) if epochs is None else epochs
        schedule = Schedule(learning_rate, 0.0, 1.0, passes, batch_size, warmup, 0.0, 0.0, 0.0, average_from)
        layers, limit = count(train_layers, backbone, SHARE), task.max_new_tokens
        form = form_of(task, backbone, template)
        learnt, held = _held_back(target, patience, seed)
        own = ((learnt, form),)
        plain = Write(own, limit, layers, adapter, schedule, pack=pack)
        last = dataclasses.replace(plain, held=None if held is None else (held, form), patience=patience)
        stages: tuple[Stage, ...] = (last,)
        shown = source_parts(task, backbone, data, source_limit, template)
        if shown and sources == "together":
            stages = (dataclasses.replace(last, parts=(*shown, *own)),)
        elif shown:  # the source's stage needs no answer of the target, and is shared by all folds
            rate = learning_rate / 2 if target_learning_rate is None else target_learning_rate
            first = dataclasses.replace(
                plain, parts=shown, schedule=dataclasses.replace(schedule, epochs=source_epochs)
            )
            stages = (first, dataclasses.replace(last, schedule=dataclasses.replace(schedule, learning_rate=rate)))
        ask = Ask(form, decoding_of(task, backbone, form, target, beams, max_new_tokens))
        return Job((*stages, ask), len(stages) - 1, seed)


def answer_dora() -> AnswerLora:
    """LoRA on the directions of the weights' columns alone, with their lengths learnt apart (Liu et al. 2024)."""
    return AnswerLora("dora")


class AnswerFinetune:
    """The upper layers of a decoder train on the answers alone; the lower ones are frozen and read once.

    Choose it where there are hundreds of answers. Costs the passes through the trained layers.
    """

    family, reads, uses_sources, counterpart = "parameter", "decoder", True, "prompt"
    uses_related, weighs, alone = False, True, None

    @borrowing(
        AnswerLora.plan,
        "train_layers template epochs batch_size warmup average_from patience sources source_limit source_epochs "
        "target_learning_rate pack beams max_new_tokens",
    )
    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        learning_rate: float = 1e-4,
        layer_decay: float = 0.95,
        **lora: Any,
    ) -> Job:
        """Train the layers, on a source first where there is one.

        Args:
            learning_rate: of the uppermost layer.
            layer_decay: factor a layer downwards.
            lora: as in `AnswerLora`.
        """
        job = AnswerLora().plan(task, backbone, data, seed, learning_rate=learning_rate, **lora)
        stages = [
            dataclasses.replace(s, adapter=None, schedule=dataclasses.replace(s.schedule, layer_decay=layer_decay))
            if isinstance(s, Write)
            else s
            for s in job.stages
        ]
        return dataclasses.replace(job, stages=tuple(stages))
