"""Distillation by soft labels: a student learns what a teacher says of texts, labelled or not."""

from __future__ import annotations

import dataclasses
from typing import Any, cast, get_args

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.inner import Way
from transfuse.engine.jobs import Job, Stage, Train, TransferData
from transfuse.engine.taught import Taught
from transfuse.engine.terms import Inner, Soft
from transfuse.errors import RecipeError
from transfuse.fitted.head import HeadPath
from transfuse.methods.borrowed import borrowing
from transfuse.methods.parameter.finetune import Finetune
from transfuse.methods.parameter.tuning import enough
from transfuse.methods.rows import counted_rows
from transfuse.tasks.classify import Classify

WAYS = get_args(Way)
EPOCHS, STEPS, BATCH = 3, 100, 32
"""Passes over unlabelled texts, and steps at least, where a recipe says nothing."""


class Distillation:
    """Trains on a teacher's probabilities of unlabelled texts, then on the labelled rows (Hinton et al. 2015).

    Choose it where a model that is too large, too slow or not one's own knows the task, and texts without labels
    abound. The loss of a row is (1 - α) · cross-entropy + α · T² · divergence; a row without a label has the second
    alone. What is learnt from unlabelled texts needs no label and is shared by all folds. Without a teacher it is
    `Finetune`, and without labels it learns from the teacher alone.
    """

    family, reads, uses_sources, counterpart = "distillation", "any", False, "probe"
    uses_related, weighs, alone = False, True, "finetune"

    @borrowing(
        Finetune.plan,
        "train_layers layer pooling template learning_rate layer_decay epochs batch_size dropout cosine target_epochs "
        "target_learning_rate",
    )
    def plan(
        self,
        task: Classify,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        temperature: float = 2.0,
        alpha: float = 0.5,
        beta: float = 0.0,
        hidden: float = 0.0,
        distances: float = 0.0,
        angles: float = 0.0,
        relations: float = 0.0,
        attention: float = 0.0,
        states: float = 0.0,
        layer_map: str = "uniform",
        taught_limit: int = 8192,
        taught_epochs: int | None = None,
        **finetune: Any,
    ) -> Job:
        """Learn from the teacher on unlabelled texts, then from both on the labelled rows.

        Args:
            temperature: T, that teacher's and student's logits are divided by; not that of any sampling.
            alpha: share of the teacher in the loss of labelled rows.
            beta: which divergence: 0 is KL(teacher ‖ student), 1 is KL(student ‖ teacher), which leaves out what the
                teacher is unsure of, and between them is a Jensen-Shannon divergence (see `divergences.divergence`).
            hidden: weight of the loss between what the heads of teacher and student see of a text, both of unit length,
                through a learnt map where their widths differ (Romero et al. 2015). Of a fitted model as a teacher.
            distances, angles: weights of the losses between how texts lie to each other in both (Park et al. 2019).
            relations: weight of the loss between how tokens relate by queries, keys and values in the last layer of
                both (Wang et al. 2021); of a teacher with the same tokens.
            attention: weight of the loss between the distributions of attention of paired layers (Jiao et al. 2020); of
                a teacher with the same tokens and as many heads. A mean of squares of small numbers: weights begin to
                count at some hundreds.
            states: weight of the loss between the directions of the tokens' states after paired layers, through a
                learnt map where widths differ (Jiao et al. 2020; Sanh et al. 2019); of a teacher with the same tokens.
            layer_map: which of the teacher's layers each layer that trains is paired with: ``uniform`` spreads them
                over the whole teacher, ``last`` takes its uppermost, ``skip`` every few from the bottom.
            taught_limit: most unlabelled texts.
            taught_epochs: passes over them; by default three, and as many as make 100 steps.
            finetune: as in `Finetune`.
        """
        assert backbone is not None
        refuse(temperature, alpha, beta)
        within = _within(relations, attention, states, layer_map)
        plain = dataclasses.replace(data, sources={}, related={}, teachers={})
        if not data.teachers:
            return Finetune().plan(task, backbone, plain, seed, **finetune)
        taught = Taught.together(data.teachers.values())
        texts = [text for text in (data.unlabelled.texts if data.unlabelled else ()) if text in taught]
        lessons = _as_examples(task, taught, texts[:taught_limit])
        labelled = bool(len(counted_rows(task, data.target, target=True))) if data.target.labels else False
        passes = enough(EPOCHS, STEPS, len(lessons), BATCH) if taught_epochs is None else taught_epochs
        if labelled and lessons.texts:
            plain = dataclasses.replace(plain, sources={"taught": lessons})
            finetune |= {"source_limit": len(lessons), "source_epochs": passes}
        elif not labelled:
            plain = dataclasses.replace(plain, target=lessons, sources={})
            finetune |= {"epochs": passes}
        job = Finetune().plan(task, backbone, plain, seed, **finetune)
        none = np.empty(0)
        inner = None if within is None else dataclasses.replace(within, teacher=taught.path)
        how = Soft(none, none, alpha, temperature, beta, None, hidden, distances, angles, inner)
        if (hidden or distances or angles or inner) and not isinstance(taught.path, HeadPath):
            raise RecipeError(
                "distill: hidden, distances, angles, relations, attention and states look inside, and this teacher has "
                "no head",
                expected="one fitted model on a backbone, such as of probe, finetune or lora",
                remedy="Set them to 0, or name such a model as the source.",
            )
        return dataclasses.replace(job, stages=tuple(_softened(stage, taught, labelled, how) for stage in job.stages))


def refuse(temperature: float, alpha: float, beta: float) -> None:
    """Refuse settings that mean nothing.

    Raises:
        RecipeError: which one, and what it takes.
    """
    if temperature <= 0:
        raise RecipeError(f"distill.temperature: {temperature}", expected="above 0", remedy="2 is a good start.")
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value <= 1:
            raise RecipeError(f"distill.{name}: {value}", expected="from 0 to 1", remedy="Correct the setting.")


def _within(relations: float, attention: float, states: float, layer_map: str) -> Inner | None:
    """What is learnt of layers, of a teacher that is yet to be named; None where nothing is.

    Raises:
        RecipeError: layers cannot be paired so.
    """
    if layer_map not in WAYS:
        raise RecipeError(
            f"distill.layer_map: '{layer_map}'", expected=" or ".join(WAYS), remedy="Leave it out for uniform."
        )
    asked = relations or attention or states
    return Inner(None, relations, attention, states, cast(Way, layer_map)) if asked else None


def _as_examples(task: Classify, taught: Taught, texts: list[str]) -> Examples:
    """Texts with the label that the teacher finds most likely: what training starts from."""
    if not texts:
        return Examples((), ())
    likely = taught.of(texts).argmax(1)
    return Examples(tuple(texts), tuple(task.labels[i] for i in likely), origin="what the teacher says")


def _softened(stage: Stage, taught: Taught, labelled: bool, how: Soft) -> Stage:
    """A stage of training with the teacher's say beside, or instead of, its labels; any other stage as it is."""
    if not isinstance(stage, Train):
        return stage
    rows = stage.rows
    says = taught.of(rows.texts)
    counted = rows.target if labelled else np.zeros(len(rows), dtype=bool)
    real = counted | np.isnan(says[:, 0])  # the labels' own words have no teacher
    vectors = taught.seen(rows.texts) if how.hidden or how.distances or how.angles else None
    return dataclasses.replace(stage, term=dataclasses.replace(how, says=says, labelled=real, vectors=vectors))
