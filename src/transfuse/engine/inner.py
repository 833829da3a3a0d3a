"""Losses inside the model: a student's states and attention brought near those of its teacher's layers."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from transfuse.engine.divergences import divergence, log_shares
from transfuse.errors import BackboneError

Way = Literal["uniform", "last", "skip"]


def layer_map(student: int, teacher: int, way: Way = "uniform") -> list[tuple[int, int]]:
    """Which of the teacher's layers each of the student's learns from, as pairs of layers counted from 1.

    With S and T layers, student layer s learns from: "uniform" round(s·T/S), spread over the whole teacher; "last"
    T-S+s, its end; "skip" s·⌊T/S⌋, every few layers from the bottom.

    Args:
        student, teacher: S and T.
        way: one of these.

    Raises:
        BackboneError: "last" or "skip" for a student of more layers than its teacher.

    Reduces to: s to s where S = T.
    Reference: Jiao et al. 2020 (TinyBERT), section 4.1, for "uniform"; Sun et al. 2019 (patient distillation), section
        3.2, for the others.
    Departures: the last layer takes part, which patient distillation leaves to the logits.
    """
    if way != "uniform" and student > teacher:
        raise BackboneError(
            f"a student of {student} layers and a teacher of {teacher}: layers cannot be paired by '{way}'",
            expected="a student of at most as many layers as its teacher",
            remedy="Pair layers by 'uniform', or choose a deeper teacher.",
        )
    if way == "uniform":
        return [(s, max(round(s * teacher / student), 1)) for s in range(1, student + 1)]
    if way == "last":
        return [(s, teacher - student + s) for s in range(1, student + 1)]
    return [(s, s * (teacher // student)) for s in range(1, student + 1)]


def hidden_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    mask: torch.Tensor,
    projection: torch.Tensor | None = None,
    *,
    cosine: bool = False,
) -> torch.Tensor:
    """How far a student's states, projected into the teacher's width, are from the teacher's, over all true tokens.

    mean ‖W h_s - h_t‖² / E; with ``cosine`` mean (1 - cos(W h_s, h_t)), which leaves the states' length free.

    Args:
        student: float [B, T, D], states after a layer.
        teacher: float [B, T, E]; gets no gradient.
        mask: [B, T], 0 at padding.
        projection: W, float [E, D], which is learnt with the student and thrown away; None where both are as wide.
        cosine: see above.

    Reduces to: 0 where W h_s = h_t.
    Reference: Romero et al. 2015 (FitNets), equation 3; Jiao et al. 2020 (TinyBERT), equation 8; Sanh et al. 2019
        (DistilBERT), section 3, for the cosine.
    """
    kept = mask.bool()
    ours, theirs = student[kept], teacher.detach()[kept].to(student.dtype)
    ours = ours if projection is None else functional.linear(ours, projection)
    if cosine:
        return (1 - functional.cosine_similarity(ours, theirs, dim=-1)).mean()
    return functional.mse_loss(ours, theirs)


def relation_loss(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, heads: int) -> torch.Tensor:
    """KL between how tokens relate in the teacher and in the student, by their queries, or keys, or values.

    Vectors A of all heads, side by side, are cut anew into R relation heads of width d; R(A)_r = softmax(A_r A_rᵀ / √d)
    and L = mean over texts, relation heads and true tokens of KL(R(A_T) ‖ R(A_S)). Neither the widths nor the numbers
    of heads need be the same. MiniLMv2 adds the losses of queries, keys and values of one upper layer.

    Args:
        student: float [B, H, T, D], as of `taps`.
        teacher: float [B, G, T, E]; gets no gradient.
        mask: [B, T], 0 at padding, which neither relates nor is related to.
        heads: R, which divides H·D and G·E; more of them carry finer relations.

    Raises:
        BackboneError: R does not divide a width.

    Cost: B·R·T² numbers.
    Reduces to: 0 where the teacher's vectors are the student's, turned within each relation head.
    Reference: Wang et al. 2021 (MiniLMv2), equations 5 to 7.
    """
    kept = mask.bool()
    ours, theirs = (_relations(x, kept, heads) for x in (student, teacher.detach()))
    each = divergence(ours, theirs).mean(1)  # [B, T]
    return each[kept].mean()


def _relations(x: torch.Tensor, kept: torch.Tensor, heads: int) -> torch.Tensor:
    """log R(A) [B, R, T, T]."""
    batch, count, length, width = x.shape
    if count * width % heads:
        raise BackboneError(
            f"{heads} relation heads for vectors of width {count * width}",
            expected="a number of heads that divides the widths of student and teacher",
            remedy="Choose another number of relation heads; a power of two mostly fits.",
        )
    cut = x.transpose(1, 2).reshape(batch, length, heads, count * width // heads).transpose(1, 2)
    scores = cut @ cut.transpose(2, 3) / cut.shape[3] ** 0.5
    return log_shares(scores.masked_fill(~kept[:, None, None, :], -torch.inf))


def attention_loss(
    student: tuple[torch.Tensor, torch.Tensor],
    teacher: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    *,
    causal: bool = False,
) -> torch.Tensor:
    """Mean squared difference between the attention distributions of a student's layer and of its teacher's.

    softmax(Q Kᵀ / √D) over what a token sees, from queries and keys as `taps` captures them: where a family turns them
    by their positions (RoPE) or norms them, these are the distributions before that, on both sides.

    Args:
        student: queries float [B, H, T, D] and keys [B, H / groups, T, D].
        teacher: the same with H heads, any width, any grouping; gets no gradient.
        mask: [B, T], 0 at padding.
        causal: whether a token sees only those before it, and itself.

    Returns:
        A scalar, the mean over texts, heads and pairs of true tokens that see each other.

    Raises:
        BackboneError: another number of heads.

    Cost: B·H·T² numbers.
    Reference: Jiao et al. 2020 (TinyBERT), equation 7, on distributions; their own runs use the scores.
    """
    if student[0].shape[1] != teacher[0].shape[1]:
        raise BackboneError(
            f"attention of {student[0].shape[1]} heads and a teacher's of {teacher[0].shape[1]}",
            expected="the same number of heads",
            remedy="Match relations (`relation_loss`), which need no equal heads.",
        )
    kept = mask.bool()
    seen = kept[:, None, :] & kept[:, :, None]
    if causal:
        seen = seen & torch.ones(seen.shape[1:], dtype=torch.bool, device=seen.device).tril()
    ours, theirs = (_attention(*pair, seen) for pair in (student, (teacher[0].detach(), teacher[1].detach())))
    return (ours - theirs).square().masked_select(seen[:, None]).mean()


def _attention(query: torch.Tensor, key: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Distributions [B, H, T, T]; 0 at what is not seen."""
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
    found = torch.softmax(scores.float().masked_fill(~seen[:, None], torch.finfo(torch.float32).min), -1)
    return found * seen[:, None]
