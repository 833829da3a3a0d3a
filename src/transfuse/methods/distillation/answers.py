"""Distillation for tasks that write: token by token, by what a teacher writes, or on what the student itself writes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.data.examples import Examples
from transfuse.engine.answers import Explore, Lessons, Pairs, Write
from transfuse.engine.jobs import Job, Stage, TransferData
from transfuse.engine.lessons import same_tokens
from transfuse.engine.taught import Taught
from transfuse.errors import RecipeError
from transfuse.fitted.writer import WriterPath
from transfuse.methods.borrowed import borrowing
from transfuse.methods.distillation.soft import refuse
from transfuse.methods.pairs import pairs_of
from transfuse.methods.parameter.answers import AnswerFinetune
from transfuse.methods.rows import counting
from transfuse.tasks.writing import Writing

MATCHES = ("auto", "bytes", "sorted")
WRITTEN = "what the teacher writes"
EXPLAIN = "\n\nExplain why."
"""Behind a request, asks for the reason of its answer instead of the answer."""


class AnswerDistillation:
    """Trains a decoder on what a teacher foretells at each token of the known answers, and on what it writes itself.

    Choose it where a model that is too large, too slow or not one's own writes well. Answers that the teacher wrote to
    unlabelled requests are learnt first, as a source (Kim and Rush 2016: any teacher can give them, also one behind an
    API). Then the known answers: (1 - α) · cross-entropy + α · T² · divergence at every token, from the teacher's `k`
    likeliest tokens with the exact weight of the others. A teacher with other tokens is met where tokens of both end at
    the same byte (Minixhofer, Vulić and Ponti 2025), or by the sizes of its shares alone (Boizard et al. 2024). Last,
    if asked for, answers that the student draws, as the teacher sees them (Agarwal et al. 2024). Where the teacher has
    written why known answers are right, these reasons are learnt before them (Hsieh et al. 2023). Without a teacher it
    is `AnswerFinetune`.
    """

    family, reads, uses_sources, counterpart = "distillation", "decoder", False, "prompt"
    uses_related, weighs, alone = False, True, "finetune"

    @borrowing(
        AnswerFinetune.plan,
        "train_layers template learning_rate layer_decay epochs batch_size warmup patience source_epochs pack beams "
        "max_new_tokens",
    )
    def plan(
        self,
        task: Writing,
        backbone: Backbone | None,
        data: TransferData,
        seed: int,
        *,
        temperature: float = 2.0,
        alpha: float = 0.5,
        beta: float = 0.0,
        k: int = 64,
        match: str = "auto",
        written_limit: int = 1024,
        own_rounds: int = 0,
        own_requests: int = 64,
        **finetune: Any,
    ) -> Job:
        """Learn what the teacher wrote, then the known answers with the teacher beside them, then from one's own.

        Args:
            temperature: T, that teacher's and student's logits are divided by; not that of any sampling.
            alpha: share of the teacher in the loss of known answers; 0 learns from what it writes alone.
            beta: which divergence: 0 is KL(teacher ‖ student), 1 is KL(student ‖ teacher).
            k: likeliest tokens of the teacher that are kept at each place.
            match: how the teacher's tokens meet the student's. ``auto`` goes token by token where they are the same,
                and else by ``bytes``: groups of tokens that end at the same byte, over the tokens that both have where
                a group is one token, and by the likelihood of its bytes elsewhere. ``sorted`` compares the teacher's
                shares with the student's from the largest down, whatever their tokens are called, where such a group
                begins: α = 0.6 is that paper's λ = 1.5.
            written_limit: most unlabelled requests with the teacher's answers.
            own_rounds: rounds in which the student draws answers and the teacher says of each token what it would have
                foretold.
            own_requests: requests of each round.
            finetune: as in `AnswerFinetune`.
        """
        assert backbone is not None
        refuse(temperature, alpha, beta)
        if k < 1:
            raise RecipeError(f"distill.k: {k}", expected="1 or more", remedy="64 keeps nearly all that matters.")
        if match not in MATCHES:
            raise RecipeError(
                f"distill.match: '{match}'", expected=" or ".join(MATCHES), remedy="Leave `match` out for auto."
            )
        plain = dataclasses.replace(data, sources={}, related={}, teachers={})
        if not data.teachers:
            return AnswerFinetune().plan(task, backbone, plain, seed, **finetune)
        if len(data.teachers) > 1:
            raise RecipeError(
                f"distill: {len(data.teachers)} teachers, {', '.join(data.teachers)}",
                expected="one, where answers are written",
                remedy="Name one of them.",
            )
        (teacher,) = data.teachers.values()
        if written := _written(teacher, data.unlabelled, written_limit):
            plain = dataclasses.replace(plain, sources={WRITTEN: written})
            finetune |= {"source_limit": written_limit}
        job = _with_reasons(AnswerFinetune().plan(task, backbone, plain, seed, **finetune), teacher, data.target)
        if not alpha or not isinstance(teacher.path, WriterPath) or teacher.known is None:
            return job
        if match == "auto":
            match = "same" if same_tokens(teacher.path, backbone) else "bytes"
        every = pairs_of(teacher.known, target=True)
        lessons = Lessons(
            teacher.path, teacher.about, every, teacher.folder, teacher.precision, alpha, temperature, beta, k, match
        )
        *before, last, ask = job.stages
        assert isinstance(last, Write)
        stages: tuple[Stage, ...] = (*before, dataclasses.replace(last, lessons=lessons))
        if own_rounds:
            stages = (*stages, _own(last, lessons, data, ask.decoding, own_rounds, own_requests))  # type: ignore[union-attr]
        return Job((*stages, ask), job.shared, seed)


def _with_reasons(job: Job, teacher: Taught, target: Examples) -> Job:
    """With a pass over the teacher's reasons for the target's answers before these (Hsieh et al. 2023).

    Departures from the paper: one task after the other, where it sums the losses of both; the answers come last, since
    they are what is asked for.
    """
    known = [target.texts[i] for i in counting(target) if target.texts[i] in teacher.reasons]
    if not known:
        return job
    *before, last, ask = job.stages
    assert isinstance(last, Write)
    ((_, form),) = last.parts
    asked, reasons = tuple(text + EXPLAIN for text in known), tuple(teacher.reasons[text] for text in known)
    pairs = Pairs(asked, reasons, np.ones(len(known)), np.zeros(len(known), dtype=bool))
    once = dataclasses.replace(last.schedule, epochs=1)
    why = dataclasses.replace(last, parts=((pairs, form),), schedule=once, held=None, patience=0)
    return Job((*before, why, last, ask), job.shared, job.seed)


def _own(last: Write, lessons: Lessons, data: TransferData, decoding: Any, rounds: int, most: int) -> Explore:
    """Rounds on the student's own answers: the teacher alone, the student's mistakes weighing most (reverse KL)."""
    known = (data.target.texts[i] for i in counting(data.target))
    texts = tuple(dict.fromkeys((*(data.unlabelled.texts if data.unlabelled else ()), *known)))[:most]
    alone = dataclasses.replace(lessons, alpha=1.0, beta=1.0, temperature=1.0)
    once = dataclasses.replace(last.schedule, epochs=1)
    write = dataclasses.replace(last, schedule=once, lessons=alone, held=None, patience=0)
    return Explore(texts, dataclasses.replace(decoding, temperature=1.0), write, rounds)


def _written(teacher: Taught, unlabelled: Examples | None, most: int) -> Examples | None:
    """Unlabelled requests with the answers that the teacher wrote, where it wrote something."""
    texts = [text for text in (unlabelled.texts if unlabelled else ()) if text in teacher][:most]
    answers = np.array([str(answer or "") for answer in teacher.of(texts)], dtype=object)
    kept = [i for i, answer in enumerate(answers) if answer.strip()]
    if not kept:
        return None
    return Examples(tuple(texts[i] for i in kept), tuple(answers[i] for i in kept), origin=WRITTEN)
