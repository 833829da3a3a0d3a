"""Fine-tuning and adapters for tasks that write: the upper layers learn the answers, over the cached prefix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.writing import Form
from transfuse.engine.answers import Ask, Pairs, Write
from transfuse.engine.jobs import Job, Schedule, Stage, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.pairs import decoding_of, form_of, pairs_of, source_parts
from transfuse.methods.parameter.tuning import count, enough
from transfuse.tasks.writing import Writing

SHARE = 1 / 2
"""Of the layers, the upper ones, that learn where a recipe says nothing."""

HELD = 0.1
"""Of the target's rows, where training stops by some that are held back."""


@dataclasses.dataclass(frozen=True)
class _Learning:
    """What is decided of a method that learns answers."""

    layers: int
    adapter: Mapping[str, Any] | None
    schedule: Schedule
    source_epochs: int
    target_learning_rate: float | None
    source_limit: int
    sources: str
    patience: int
    template: str | None
    beams: int
    max_new_tokens: int | None


def _plan(task: Writing, backbone: Backbone, data: TransferData, seed: int, asked: _Learning) -> Job:
    """Learn the source's answers, then the target's, then ask; what needs no target answer is shared by all folds."""
    if asked.sources not in ("first", "together"):
        raise RecipeError(
            f"sources: '{asked.sources}'", expected="first or together", remedy="Correct the setting of the method."
        )
    form = form_of(task, backbone, asked.template)
    target = pairs_of(data.target, target=True)
    sources = source_parts(task, backbone, data, asked.source_limit, asked.template)
    decoding = decoding_of(task, backbone, form, target, asked.beams, asked.max_new_tokens)
    learnt, held = _held_back(target, asked.patience, seed)
    own = ((learnt, form),)

    def write(parts: tuple[tuple[Pairs, Form], ...], schedule: Schedule, held: Pairs | None = None) -> Write:
        apart = None if held is None else (held, form)
        patience = asked.patience
        return Write(parts, task.max_new_tokens, asked.layers, asked.adapter, schedule, held=apart, patience=patience)

    stages: tuple[Stage, ...]
    if not sources or asked.sources == "together":
        stages, shared = (write((*sources, *own), asked.schedule, held),), 0
    else:
        first = dataclasses.replace(asked.schedule, epochs=asked.source_epochs)
        rate = asked.target_learning_rate or asked.schedule.learning_rate / 2
        then = dataclasses.replace(asked.schedule, learning_rate=rate)
        stages, shared = (write(sources, first), write(own, then, held)), 1
    return Job((*stages, Ask(form, decoding)), shared, seed)


def _held_back(target: Pairs, patience: int, seed: int) -> tuple[Pairs, Pairs | None]:
    """A tenth of the target's rows, by which training stops, where it is asked for and there are enough."""
    count = round(HELD * len(target))
    if not patience or not count:
        return target, None
    order = np.random.default_rng(seed).permutation(len(target))
    return target.take(np.sort(order[count:])), target.take(np.sort(order[:count]))


def _schedule(
    rate: float, decay: float, epochs: int | None, steps: int, rows: int, batch_size: int, warmup: float, average: float
) -> Schedule:
    passes = enough(2, steps, rows, batch_size) if epochs is None else epochs
    return Schedule(rate, 0.0, decay, passes, batch_size, warmup, 0.0, 0.0, 0.0, average)


class AnswerLora:
    """Adapters (Hu et al. 2021) on the upper layers of a decoder, trained on the answers alone.

    Choose it where the fitted model must be small, or where the model must not forget what else it can do
    (Biderman et al. 2024). Costs the passes through the adapted layers; the layers below are read once.
    """

    family, reads, uses_sources, counterpart = "parameter", "decoder", True, "prompt"
    uses_related = False

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
            beams, max_new_tokens: as in `Asking`.
        """
        assert backbone is not None
        if rank < 1:
            raise RecipeError(f"lora.rank: {rank}", expected="1 or more", remedy="16 is a good start.")
        adapter = {"kind": self._kind, "rank": rank, "alpha": 2 * rank if alpha is None else alpha, "dropout": dropout}
        rows = len(data.target)
        schedule = _schedule(learning_rate, 1.0, epochs, 60, rows, batch_size, warmup, average_from)
        chosen = _Learning(
            count(train_layers, backbone, SHARE),
            adapter,
            schedule,
            source_epochs,
            target_learning_rate,
            source_limit,
            sources,
            patience,
            template,
            beams,
            max_new_tokens,
        )
        return _plan(task, backbone, data, seed, chosen)


def answer_dora() -> AnswerLora:
    """LoRA on the directions of the weights' columns alone, with their lengths learnt apart (Liu et al. 2024)."""
    return AnswerLora("dora")


class AnswerFinetune:
    """The upper layers of a decoder train on the answers alone; the lower ones are frozen and read once.

    Choose it where there are hundreds of answers. Costs the passes through the trained layers.
    """

    family, reads, uses_sources, counterpart = "parameter", "decoder", True, "prompt"
    uses_related = False

    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        train_layers: int | str | None = None,
        template: str | None = None,
        learning_rate: float = 1e-4,
        layer_decay: float = 0.95,
        epochs: int | None = None,
        batch_size: int = 8,
        warmup: float = 0.1,
        average_from: float = 1.0,
        patience: int = 0,
        sources: str = "first",
        source_limit: int = 1024,
        source_epochs: int = 1,
        target_learning_rate: float | None = None,
        beams: int = 1,
        max_new_tokens: int | None = None,
    ) -> Job:
        """Train the layers, on a source first where there is one.

        Args:
            train_layers: how many of the uppermost layers train, or ``all``; by default half of them.
            template: how a request is shown; by default the task's, or the model's own chat template.
            learning_rate: of the uppermost layer.
            layer_decay: factor a layer downwards.
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
            beams, max_new_tokens: as in `Asking`.
        """
        assert backbone is not None
        rows = len(data.target)
        schedule = _schedule(learning_rate, layer_decay, epochs, 60, rows, batch_size, warmup, average_from)
        chosen = _Learning(
            count(train_layers, backbone, SHARE),
            None,
            schedule,
            source_epochs,
            target_learning_rate,
            source_limit,
            sources,
            patience,
            template,
            beams,
            max_new_tokens,
        )
        return _plan(task, backbone, data, seed, chosen)
