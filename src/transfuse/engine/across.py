"""What a teacher with other tokens foretells: in groups of tokens that end at the same bytes, asked once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transfuse.backbones.byte_ends import INSIDE, byte_ends, token_bytes
from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import cross_entropy_of, through_head, token_log_probabilities
from transfuse.backbones.huggingface import Backbone
from transfuse.engine.alignment import Groups, align, group_divergences, group_log_shares
from transfuse.engine.answers import Lessons
from transfuse.engine.lessons import asked, together
from transfuse.engine.soft_head import soft_part, universal_part
from transfuse.engine.teacher_store import TeacherOutputs, fingerprint
from transfuse.engine.topk import TEMPERATURES, TopK
from transfuse.engine.vocabularies import common_tokens
from transfuse.engine.write import Answers
from transfuse.errors import BackboneError, RecipeError

UNBOUNDED = 1 << 30
"""Tokens of an answer as the teacher cuts it: as many as it has."""


@dataclasses.dataclass(frozen=True)
class Across:
    """What a teacher foretells of the groups of tokens that some rows' answers are cut into, G in all.

    Args:
        outputs: what the teacher foretells where each group begins: over the shared tokens, or over all of its own.
        likely: float32 [G], the teacher's log P of each group's bytes (see `group_log_shares`).
        spans: int64 [G, 2], the student's tokens of each group, counted from the answer's first.
        single: bool [G], which groups are one token on both sides.
        starts: int64 [N + 1], where each row's groups begin.
        tokens: int64 [N], tokens of each row's answer.
        columns: int64 [U], the student's shared tokens in the order of ``outputs``; None where shares are compared in
            order of size, whatever their tokens are called.
        lessons: how they are learnt.
    """

    outputs: TopK
    likely: torch.Tensor
    spans: np.ndarray
    single: np.ndarray
    starts: np.ndarray
    tokens: np.ndarray
    columns: torch.Tensor | None
    lessons: Lessons

    def loss(
        self,
        backbone: Backbone,
        hidden: torch.Tensor,
        chosen: np.ndarray,
        targets: torch.Tensor,
        weights: torch.Tensor,
        low: bool,
    ) -> torch.Tensor:
        """(1-α)·CE + α·L over the tokens of the chosen answers, where L is learnt group by group.

        Of shared tokens (`bytes`): T²·D over these where a group is one token on both sides, as `single_loss`;
        elsewhere D between how likely both sides hold the group's bytes, as `group_loss`, counted once for each of its
        tokens. By size (`sorted`): Σ_i |p_(i) - q_(i)| where a group begins, as `universal_loss`, counted in the same
        way. Tokens of no group are learnt from their label alone.

        Args:
            backbone: the student.
            hidden: float [M, D], the normed states that foretell these tokens.
            chosen: the rows.
            targets: int64 [M], the tokens.
            weights: float [M], not all 0.
            low: whether products run in bf16.

        Reduces to: `soft_head_loss` where both sides have the same tokens.
        Departures: Boizard et al. 2024 compare the t-th distribution of one side with the t-th of the other, of which
            one may be about another word; here those at the same byte are.
        """
        groups, spans = self._of(chosen)
        alpha, counted = self.lessons.alpha, weights.cpu().numpy()
        one = self.single[groups] if self.columns is not None else np.ones(len(groups), dtype=bool)
        firsts, lengths = spans[:, 0], spans[:, 1] - spans[:, 0]
        teacher = self.outputs.part(torch.from_numpy(groups[one]), hidden.device)
        at, shares = firsts[one], torch.from_numpy(counted[firsts] * lengths).float().to(hidden.device)
        soft = shares[torch.from_numpy(one).to(hidden.device)]

        def part(logits: torch.Tensor, where: slice) -> tuple[torch.Tensor, torch.Tensor]:
            total, slopes = cross_entropy_of(logits, targets[where], (1 - alpha) * weights[where])
            some = slice(*np.searchsorted(at, [where.start, where.stop]))
            rows = torch.from_numpy(at[some] - where.start).to(logits.device)
            more, steeper = self._soft(logits[rows], teacher.part(some), alpha * soft[some])
            if self.columns is None:
                return total + more, slopes.index_add_(0, rows, steeper)
            slopes[rows[:, None], self.columns.to(rows.device)] += steeper
            return total + more, slopes

        total = through_head(backbone, hidden, part, low)
        if not one.all():
            longer = torch.from_numpy(~one).to(hidden.device)
            each = self._longer(backbone, hidden, targets, groups[~one], spans[~one], low)
            total = total + alpha * (shares[longer] * each).sum()
        return total / weights.sum()

    def _of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The groups of some rows, int64 [g], and their tokens among all of these rows' tokens, int64 [g, 2]."""
        before = np.cumsum([0, *self.tokens[chosen]])
        own = [np.arange(self.starts[i], self.starts[i + 1]) for i in chosen]
        shift = np.repeat(before[:-1], [len(one) for one in own])
        groups = np.concatenate(own)
        return groups, self.spans[groups] + shift[:, None]

    def _soft(self, logits: torch.Tensor, teacher: TopK, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        how = self.lessons
        if self.columns is None:
            return universal_part(logits, teacher, weights, how.temperature)
        shared = logits[:, self.columns.to(logits.device)]
        return soft_part(shared, teacher, weights, how.temperature, how.beta)

    def _longer(
        self,
        backbone: Backbone,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        groups: np.ndarray,
        spans: np.ndarray,
        low: bool,
    ) -> torch.Tensor:
        """D of each group of several tokens, float [g]."""
        places = torch.from_numpy(np.concatenate([np.arange(*span) for span in spans])).to(hidden.device)
        each = token_log_probabilities(backbone, hidden[places], targets[places], low)
        ends = np.cumsum(spans[:, 1] - spans[:, 0])
        own = group_log_shares(each, np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1))
        theirs = self.likely[torch.from_numpy(groups)].to(own)
        return group_divergences(own, theirs, beta=self.lessons.beta)


def across(lessons: Lessons, own: Answers, form: Form, backbone: Backbone, limit: int, most: int) -> Across:
    """What the teacher foretells of the answers of ``own``, which are among those of the lessons.

    The teacher reads requests in its own form, cut into its own tokens.

    Args:
        lessons: the teacher, and all pairs that anyone may learn from: it is asked about them together, once.
        own: the rows of this training.
        form: how their requests are shown to the student.
        backbone: the student.
        limit, most: the student's tokens of a request and of an answer.

    Raises:
        RecipeError: too few tokens are shared, or no answer's tokens end at bytes that are known.

    Cost: a pass of the teacher over all pairs, the first time.
    """
    teacher, pairs = lessons.path, lessons.pairs
    every = Answers.of(((pairs, form),), backbone, limit, most)
    longest = max(map(len, teacher.backbone.replies(teacher.form, pairs.answers, UNBOUNDED)), default=1)
    theirs = Answers.of(((pairs, teacher.form),), teacher.backbone, teacher.limit, longest)
    groups = _aligned(pairs.answers, (backbone, every), (teacher.backbone, theirs))
    columns, other = _shared(backbone, teacher.backbone) if lessons.match == "bytes" else (None, None)
    outputs = _outputs(lessons, every, theirs, groups, other)
    for part in outputs.missing():
        outputs.write_part(part, *_said(lessons, theirs, groups, other, part.rows, outputs.temperatures))
    place: dict[tuple[int, ...], int] = {tuple(row): i for i, row in enumerate(every.tokens)}
    rows = [place[tuple(row)] for row in own.tokens]
    found, starts = outputs.rows(rows)
    spans = np.concatenate([np.empty((0, 2), dtype=np.int64), *(groups[i].student for i in rows)])
    single = np.concatenate([np.empty(0, dtype=bool), *(groups[i].single for i in rows)])
    return Across(found, outputs.beside(rows), spans, single, starts, own.counted, columns, lessons)


def _outputs(
    lessons: Lessons, every: Answers, theirs: Answers, groups: Sequence[Groups], other: torch.Tensor | None
) -> TeacherOutputs:
    """Where what the teacher says is kept; anything that it depends on has another name."""
    temperatures = tuple(sorted({*TEMPERATURES, lessons.temperature}))
    tokens = zip(every.tokens, theirs.tokens, groups, strict=True)
    rows = [[list(a), list(b), g.student.tolist(), g.teacher.tolist()] for a, b, g in tokens]
    about = repr((lessons.about, lessons.precision, lessons.match))
    shared = "" if other is None else repr(other.tolist())
    head = lessons.path.backbone.network().get_output_embeddings().weight.shape[0]
    return TeacherOutputs(
        Path(lessons.folder),
        fingerprint(about, shared, rows, lessons.k, temperatures),
        [len(one) for one in groups],
        k=lessons.k,
        vocabulary=head if other is None else len(other),
        temperatures=temperatures,
        beside=True,
    )


def _said(
    lessons: Lessons,
    theirs: Answers,
    groups: Sequence[Groups],
    other: torch.Tensor | None,
    rows: range,
    temperatures: Sequence[float],
) -> tuple[TopK, torch.Tensor]:
    """What the teacher foretells where the groups of some rows begin, and its log P of each group's bytes."""
    heads = [list(theirs.tokens[i][: theirs.starts[i]]) for i in rows]
    tails = [list(theirs.tokens[i][theirs.starts[i] :]) for i in rows]
    said: dict[int, tuple[TopK, torch.Tensor]] = {}
    for i, logits in asked(lessons.path, lessons.precision, heads, tails):
        cut, actual = groups[rows[i]].teacher, torch.tensor(tails[i], device=logits.device)
        each = torch.log_softmax(logits, 1).gather(1, actual[:, None])[:, 0]
        begin = logits[torch.from_numpy(cut[:, 0]).to(logits.device)]
        begin = begin if other is None else begin[:, other.to(begin.device)]
        kept = TopK.of(begin, lessons.k, temperatures).part(slice(None), torch.device("cpu"))
        said[i] = kept, group_log_shares(each, cut).cpu()
    ordered = [said[i] for i in range(len(rows))]
    return together([one for one, _ in ordered]), torch.cat([likely for _, likely in ordered])


def _aligned(
    answers: Sequence[str], student: tuple[Backbone, Answers], teacher: tuple[Backbone, Answers]
) -> list[Groups]:
    """The groups of each answer; none where its tokens cannot be laid along its bytes on one of the sides."""
    groups, failed = [], ""
    for i, answer in enumerate(answers):
        try:
            first, second = (
                _ends(backbone.tokenizer, answer, list(rows.tokens[i][rows.starts[i] :]))
                for backbone, rows in (student, teacher)
            )
        except BackboneError as error:
            first = second = np.empty(0, dtype=np.int64)
            failed = error.found
        groups.append(align(first, second))
    if groups and not any(map(len, groups)):
        raise RecipeError(
            f"distill.match: no answer is cut at the same bytes by {student[0].reference} and by its teacher "
            f"{teacher[0].reference}" + (f": {failed}" if failed else ""),
            expected="answers whose tokens are their bytes on both sides",
            remedy="Set `alpha: 0`: the student then learns from what the teacher writes.",
        )
    return groups


def _ends(tokenizer: Any, answer: str, ids: list[int]) -> np.ndarray:
    """Where each token of an answer ends, one byte on: 1 is the space before it, where that is a token of its own."""
    ends = byte_ends(tokenizer, answer, ids)
    found = np.where(ends > 0, ends + 1, ends)
    if len(ids) and ends[0] == INSIDE and token_bytes(tokenizer, ids[:1]) == [b" "]:
        found[0] = 1
    return found


def _shared(student: Backbone, teacher: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids of the tokens that both have, the student's in order, and special tokens that mean the same.

    Raises:
        RecipeError: there are fewer than two.
    """
    own, other = student.tokenizer, teacher.tokenizer
    columns, theirs = common_tokens(token_bytes(own), token_bytes(other), _marks(own, other))
    widths = [one.network().get_output_embeddings().weight.shape[0] for one in (student, teacher)]
    order = columns.argsort()
    order = order[(columns[order] < widths[0]) & (theirs[order] < widths[1])]
    if len(order) < 2:
        raise RecipeError(
            f"distill.match: {student.reference} and its teacher {teacher.reference} share {len(order)} tokens",
            expected="tokens that stand for the same bytes in both, of which these are compared",
            remedy="Set `match: sorted`, which needs none, or `alpha: 0`, to learn from what the teacher writes.",
        )
    return columns[order], theirs[order]


def _marks(own: Any, other: Any) -> list[tuple[int, int]]:
    """Special tokens that mean the same: what ends an answer, then those of the same name; none twice."""
    pairs = {own.eos_token_id: other.eos_token_id}
    names = set(own.all_special_tokens) & set(other.all_special_tokens)
    for name in sorted(names):
        first, second = own.convert_tokens_to_ids(name), other.convert_tokens_to_ids(name)
        if first not in pairs and second not in pairs.values():
            pairs[first] = second
    return list(pairs.items())
