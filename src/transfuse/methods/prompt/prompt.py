"""Prompting: a decoder is asked, zero-shot or with demonstrations, and its label words are scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.model import RemoteModel
from transfuse.engine.answers import Consult
from transfuse.engine.jobs import Job, Prompt, TransferData
from transfuse.errors import RecipeError, nearest
from transfuse.tasks.classify import Classify

NEAR = 256
"""Texts of the target that show a prompt's bias, at most."""


class Prompting:
    """Scores label words after a prompt (Brown et al. 2020) and subtracts the prompt's own bias (Zhao et al. 2021).

    Choose it where there are hardly any labels and the decoder is good. Costs one pass a text, no training.
    """

    family, reads, uses_sources, counterpart = "prompt", "decoder", False, None
    uses_related, weighs, alone = False, False, None

    def plan(
        self,
        task: Classify,
        backbone: Backbone | RemoteModel | None,
        data: TransferData,
        seed: int,
        *,
        shots: int = 8,
        calibrate: bool | str = True,
        template: str | None = None,
        words: Mapping[str, str] | None = None,
    ) -> Job:
        """One prompt for all texts.

        Args:
            shots: demonstrations in all, spread evenly over the classes and drawn by the seed; 0 asks without any.
            calibrate: ``true``, by inputs without content (contextual calibration, Zhao et al. 2021); ``texts``, by
                unlabelled texts of the target, so that in their mean no class is preferred (batch calibration, Zhou et
                al. 2024); or ``false``. What a remote model says stays as it is.
            template: how a text is shown; by default the task's (see `Classify.shown`).
            words: label -> word; by default the task's.
        """
        if shots < 0:
            raise RecipeError(f"prompt.shots: {shots}", expected="0 or more", remedy="Use 0 for a zero-shot prompt.")
        if isinstance(calibrate, str) and calibrate != "texts":
            raise RecipeError(
                f"prompt.calibrate: '{calibrate}'", expected="true, false or texts", remedy="Correct the setting."
            )
        shown = template or task.shown()
        if shown.count("{text}") != 1:
            raise RecipeError(
                f"prompt.template: {shown!r}",
                expected="{text} once, where the text goes",
                remedy='Write it like "Review: {text}\\nSentiment:".',
            )
        check_words(task, words or {})
        named = {label: (words or {}).get(label) or task.word(label) for label in task.labels}
        pairs = [(data.target.texts[i], named[(data.target.labels or ())[i]]) for i in _drawn(data, shots, seed)]
        if isinstance(backbone, RemoteModel):
            system = f"Answer with one of these and nothing else: {', '.join(named.values())}."
            talk = Conversation(system, shown, tuple(pairs), task.max_tokens)
            return Job((Consult(talk, tuple(named.values())),), 0, seed)
        near = data.unlabelled.texts[:NEAR] if calibrate == "texts" and data.unlabelled else ()
        return Job((Prompt(tuple(pairs), shown, tuple(named.values()), bool(calibrate), near),), 0, seed)


def check_words(task: Classify, words: Mapping[str, str]) -> None:
    """Words under labels that exist, no word for two labels: its likelihood could not tell them apart."""
    unknown = [label for label in words if label not in task.labels]
    if unknown:
        raise RecipeError(
            f"prompt.words: '{unknown[0]}' is no label.{nearest(unknown[0], task.labels)}",
            expected=f"labels among {', '.join(task.labels[:10])}",
            remedy="Name each word under a label of the data.",
        )
    owner: dict[str, str] = {}
    for label in task.labels:
        word = words.get(label) or task.word(label)
        if word in owner:
            raise RecipeError(
                f"prompt.words: the labels '{owner[word]}' and '{label}' share the word '{word}'",
                expected="a word of its own for each label",
                remedy=f"Set words: {{{label}: ...}}.",
            )
        owner[word] = label


def _drawn(data: TransferData, shots: int, seed: int) -> list[int]:
    """Positions of the demonstrations: as many a class as possible, the rest from classes in turn, shuffled."""
    labels = data.target.labels or ()
    if not shots or not labels:
        return []
    generator = np.random.default_rng(seed)
    counts = np.ones(len(labels)) if data.target.weights is None else np.asarray(data.target.weights)
    queues = []
    for label in sorted(set(labels)):
        own = np.flatnonzero((np.array(labels) == label) & (counts > 0))
        queues.append(list(generator.permutation(own)))
    drawn: list[int] = []
    while len(drawn) < shots and any(queues):
        for queue in queues:
            if queue and len(drawn) < shots:
                drawn.append(int(queue.pop()))
    return [drawn[i] for i in generator.permutation(len(drawn))]
