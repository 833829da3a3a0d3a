"""What a teacher foretells token by token: asked once about all answers that anyone may learn from, and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import batches
from transfuse.engine.answers import Lessons
from transfuse.engine.teacher_store import TeacherOutputs, fingerprint
from transfuse.engine.topk import TEMPERATURES, TopK
from transfuse.engine.write import Answers
from transfuse.errors import RecipeError
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


def foretold(lessons: Lessons, own: Answers, form: Form, backbone: Backbone, limit: int, most: int) -> Foretold:
    """What the teacher foretells at the answers of ``own``, which are among those of the lessons.

    Args:
        lessons: the teacher, and all pairs that anyone may learn from: it is asked about them together, once.
        own: the rows of this training.
        form: how their requests are shown, to the teacher as to the student.
        backbone: the student.
        limit, most: tokens of a request and of an answer.

    Raises:
        RecipeError: the teacher has other tokens.

    Cost: a pass of the teacher over all pairs, the first time.
    """
    same_tokens(lessons.path, backbone)
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
        outputs.write_part(part, _asked(teacher, every, list(part.rows), lessons, temperatures))
    found, starts = outputs.rows([place[tuple(row)] for row in own.tokens])
    return Foretold(found, starts, lessons)


def _asked(
    teacher: WriterPath, every: Answers, rows: list[int], lessons: Lessons, temperatures: Sequence[float]
) -> TopK:
    """The teacher's likeliest tokens at the answers of some rows."""
    writer = teacher.writer(lessons.precision)
    found: dict[int, TopK] = {}
    lengths = np.array([len(every.tokens[i]) for i in rows], dtype=np.int64)
    for chosen in batches(lengths, ASKED_TOKENS):
        cut = [(list(every.tokens[rows[i]]), int(every.starts[rows[i]])) for i in chosen]
        said = writer.foretold([row[:start] for row, start in cut], [row[start:] for row, start in cut])
        for i, one in zip(chosen, said, strict=True):
            found[int(i)] = TopK.of(one, lessons.k, temperatures).part(slice(None), torch.device("cpu"))
    ordered = [found[i] for i in range(len(rows))]
    ids, likely = torch.cat([one.ids for one in ordered]), torch.cat([one.logits for one in ordered])
    return dataclasses.replace(ordered[0], ids=ids, logits=likely, rest=torch.cat([one.rest for one in ordered]))


def same_tokens(path: WriterPath, backbone: Backbone) -> None:
    """Refuse a teacher whose tokens are not the student's.

    Raises:
        RecipeError: it has others, and can only teach by what it writes.
    """
    own, other = backbone.tokenizer, path.backbone.tokenizer
    if own.get_vocab() != other.get_vocab():
        raise RecipeError(
            f"distill: {backbone.reference} and its teacher {path.backbone.reference} have different tokens",
            expected="a teacher of the same family, which is read token by token",
            remedy="Set `alpha: 0`: the student then learns from what the teacher writes.",
        )
