"""Soft prompts for tasks that write: a few vectors before every request learn, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.answers import Write
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import BackboneError, RecipeError
from transfuse.methods.borrowed import borrowing
from transfuse.methods.parameter.answers import AnswerLora
from transfuse.tasks.writing import Writing


class SoftPrompt:
    """Vectors in the place of a prompt's words, trained on the answers alone (Lester et al. 2021).

    Choose it where a task's whole difference must be a few kilobytes. It learns slowly, and less than adapters do in
    small models. Costs passes through all layers, since what it changes stands below the first.
    """

    family, reads, uses_sources, counterpart = "parameter", "decoder", True, "prompt"
    uses_related, weighs, alone = False, True, None

    @borrowing(
        AnswerLora.plan,
        "template epochs batch_size warmup average_from patience sources source_limit source_epochs "
        "target_learning_rate max_new_tokens",
    )
    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        tokens: int = 16,
        learning_rate: float = 1e-2,
        **lora: Any,
    ) -> Job:
        """Train the prompt, on a source first where there is one.

        Args:
            tokens: vectors before every request.
            learning_rate: of the vectors.
            lora: as in `AnswerLora`.

        Raises:
            RecipeError: no vector.
            BackboneError: a family of learned positions, or an encoder-decoder.
        """
        assert backbone is not None
        if tokens < 1:
            raise RecipeError(f"soft_prompt.tokens: {tokens}", expected="1 or more", remedy="16 is a good start.")
        if backbone.crosses or (backbone.decoder and backbone.anatomy.added):
            raise BackboneError(
                f"{backbone.reference}: no soft prompt before a model of type '{backbone.family}'",
                expected="a decoder whose positions are relative, such as Llama, Qwen or Gemma",
                remedy="Use `lora` instead.",
            )
        job = AnswerLora().plan(task, backbone, data, seed, learning_rate=learning_rate, train_layers="all", **lora)
        soft = {"kind": "soft", "tokens": tokens}
        stages = [dataclasses.replace(s, adapter=soft) if isinstance(s, Write) else s for s in job.stages]
        return dataclasses.replace(job, stages=tuple(stages))
