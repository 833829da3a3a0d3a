"""What a teacher foretells token by token: asked once about all answers that anyone may learn from, and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import batches
from transfuse.engine.answers import Lessons
from transfuse.engine.soft_head import soft_head_loss
from transfuse.engine.teacher_store import TeacherOutputs, fingerprint
from transfuse.engine.topk import TEMPERATURES, TopK
from transfuse.engine.write import Answers
from transfuse.fitted.writer import WriterPath

ASKED_TOKENS = 4096
"""Padded tokens that a teacher reads at once."""


@dataclasses.dataclass(frozen=True)
class Foretold:
    """What a teacher foretells at every token of some rows' answers.

    Args:
        outputs: M distributions, one row's after another.
        starts: int64 [N + 1], where each row's begin.
        lessons: how they are learnt.
    """

    outputs: TopK
    starts: np.ndarray
    lessons: Lessons

    def of(self, rows: Sequence[int] | np.ndarray, device: torch.device) -> TopK:
        """Those of some rows, one after another."""
        places = [np.arange(self.starts[i], self.starts[i + 1]) for i in rows]
        return self.outputs.part(torch.from_numpy(np.concatenate(places)), device)

    def loss(
        self,
        backbone: Backbone,
        hidden: torch.Tensor,
        chosen: np.ndarray,
        targets: torch.Tensor,
        weights: torch.Tensor,
        low: bool,
    ) -> torch.Tensor:
        """(1-α)·CE + α·T²·D over the tokens of the chosen answers; see `soft_head_loss`.

        Args:
            backbone: the student.
            hidden: float [M, D], the normed states that foretell these tokens.
            chosen: the rows.
            targets: int64 [M], the tokens.
            weights: float [M], not all 0.
            low: whether products run in bf16.
        """
        how, teacher = self.lessons, self.of(chosen, hidden.device)
        return soft_head_loss(
            backbone,
            hidden,
            teacher,
            weights,
            low,
            temperature=how.temperature,
            beta=how.beta,
            targets=targets,
            alpha=how.alpha,
        )


def foretold(lessons: Lessons, own: Answers, form: Form, backbone: Backbone, limit: int, most: int) -> Foretold:
    """What the teacher foretells at the answers of ``own``, which are among those of the lessons.

    Args:
        lessons: the teacher, and all pairs that anyone may learn from: it is asked about them together, once.
        own: the rows of this training.
        form: how their requests are shown, to the teacher as to the student.
        backbone: the student.
        limit, most: tokens of a request and of an answer.

    Cost: a pass of the teacher over all pairs, the first time.
    """
    every = Answers.of(((lessons.pairs, form),), backbone, limit, most)
    place: dict[tuple[int, ...], int] = {tuple(row): i for i, row in enumerate(every.tokens)}
    teacher: WriterPath = lessons.path
    about = repr((lessons.about, lessons.precision))
    temperatures = tuple(sorted({*TEMPERATURES, lessons.temperature}))
    outputs = TeacherOutputs(
        Path(lessons.folder),
        fingerprint(about, repr(form.to_dict()), every.tokens, lessons.k, temperatures),
        every.counted,
        k=lessons.k,
        vocabulary=teacher.backbone.network().get_output_embeddings().weight.shape[0],
        temperatures=temperatures,
    )
    for part in outputs.missing():
        heads = [list(every.tokens[i][: every.starts[i]]) for i in part.rows]
        tails = [list(every.tokens[i][every.starts[i] :]) for i in part.rows]
        said: dict[int, TopK] = {}
        for i, logits in asked(teacher, lessons.precision, heads, tails):
            said[i] = TopK.of(logits, lessons.k, temperatures).part(slice(None), torch.device("cpu"))
        outputs.write_part(part, together([said[i] for i in range(len(said))]))
    found, starts = outputs.rows([place[tuple(row)] for row in own.tokens])
    return Foretold(found, starts, lessons)


def asked(
    teacher: WriterPath, precision: str, heads: Sequence[list[int]], tails: Sequence[list[int]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """What a teacher foretells at the tokens of answers, batch by batch.

    Args:
        teacher: a decoder, with its trained layers or soft prompt where it has some.
        precision: of the passes.
        heads, tails: its token ids of N requests and answers.

    Yields:
        The position of an answer, and float32 logits [tokens, V].

    Cost: one pass over requests and answers.
    """
    writer, soft = teacher.writer(precision), None if teacher.trained is None else teacher.trained.soft
    before = [0] * (0 if soft is None else len(soft))  # a soft prompt stands where these tokens would
    lengths = np.array([len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)], dtype=np.int64)
    for chosen in batches(lengths, ASKED_TOKENS):
        said = writer.foretold([[*before, *heads[i]] for i in chosen], [tails[i] for i in chosen])
        yield from ((int(i), one) for i, one in zip(chosen, said, strict=True))


def together(every: Sequence[TopK]) -> TopK:
    """The distributions of several rows, one after another."""
    ids, likely, rest = (torch.cat([getattr(one, name) for one in every]) for name in ("ids", "logits", "rest"))
    return dataclasses.replace(every[0], ids=ids, logits=likely, rest=rest)


def same_tokens(path: WriterPath, backbone: Backbone) -> bool:
    """Whether a teacher's tokens are the student's, so that it can be read token by token."""
    own, other = backbone.tokenizer.get_vocab(), path.backbone.tokenizer.get_vocab()
    return bool(own == other)
